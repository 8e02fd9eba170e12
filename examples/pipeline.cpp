// A stream into an actor. Notice: readings() is a coroutine that yields while it runs; the loop in
// main() meets every reading as soon as it exists and hands on its reference without waiting for
// the value; the stream holds back a producer that runs too far ahead; an exception in the producer
// would come out as the last reference.
#include <ray/ray.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

struct Reading {
  int second;
  double celsius;
};

ray::Generator<Reading> readings(int seconds) {
  for (int i = 0; i < seconds; ++i) {
    const double spike = i % 97 == 96 ? 25.0 : 0.0;
    co_yield Reading{i, 20.0 + 2.0 * std::sin(i / 50.0) + spike};
  }
}

Reading calibrate(Reading raw) {
  raw.celsius -= 0.5;
  return raw;
}

class Monitor {
public:
  explicit Monitor(double limit) : limit_(limit) {}

  void add(const Reading& reading) {
    ordered_ = ordered_ && reading.second == count_;
    ++count_;
    if (reading.celsius > limit_) alarms_.push_back(reading.second);
  }
  int count() const { return count_; }
  bool ordered() const { return ordered_; }
  std::vector<int> alarms() const { return alarms_; }

private:
  double limit_;
  int count_ = 0;
  bool ordered_ = true;
  std::vector<int> alarms_;
};

int main(int argc, char** argv) {
  ray::init(argc, argv);

  auto monitor = ray::actor<Monitor>(30.0);
  for (const ray::ObjectRef<Reading>& raw : ray::remote<readings>(500)) {
    ray::remote<&Monitor::add>(monitor, ray::remote<calibrate>(raw));
  }

  const int count = ray::get(ray::remote<&Monitor::count>(monitor));
  const bool ordered = ray::get(ray::remote<&Monitor::ordered>(monitor));
  const std::vector<int> alarms = ray::get(ray::remote<&Monitor::alarms>(monitor));
  std::printf("%d readings, %s order, alarms at", count, ordered ? "in" : "out of");
  for (int second : alarms) std::printf(" %d", second);
  std::printf("\n");
  const bool good = count == 500 && ordered && alarms == std::vector<int>{96, 193, 290, 387, 484};
  if (!good) std::printf("WRONG\n");
  return good ? 0 : 1;
}
