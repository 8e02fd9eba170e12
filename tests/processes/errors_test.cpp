// Failures that cross between processes: exceptions of every kind, values that cannot be sent,
// chains of dependants, and tasks that wait for one another.
#include "processes/fault_probes.hpp"

namespace {

using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using faults::same;

/// Neither an aggregate nor one that says how it is written.
class Opaque {
public:
  explicit Opaque(int x) : x_(x) {}
  int value() const { return x_; }

private:
  int x_;
};

class Stubborn : public std::runtime_error {
public:
  Stubborn() : std::runtime_error("has no way to travel"), kept_(1) {}
  int kept() const { return kept_; }

private:
  int kept_;
};

struct Refuses {
  int where = 0;  // 1: when it is written, 2: when it is read.
  template <class Archive>
  void save(Archive& archive) const {
    if (where == 1) throw std::runtime_error("it will not be written");
    archive(where);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(where);
    if (where == 2) throw std::runtime_error("it will not be read");
  }
};

int throws(int kind) {
  switch (kind) {
    case 0:
      throw std::out_of_range("as itself");
    case 1:
      throw 42;  // NOLINT
    case 2:
      throw Stubborn();
    case 3:
      throw std::runtime_error(std::string(1 << 20, 'x') + "tail");
    default:
      return kind;
  }
}

Opaque makes_opaque(int x) { return Opaque(x); }
std::tuple<std::vector<char>, Opaque> makes_half(std::size_t size) {
  return {std::vector<char>(size, 'x'), Opaque(1)};
}
int takes_opaque(const Opaque& opaque) { return opaque.value(); }
Refuses makes_refuses(int where) { return Refuses{where}; }
int takes_refuses(const Refuses& refuses) { return refuses.where; }
std::vector<char> makes_bytes(std::size_t size) { return std::vector<char>(size, 'b'); }

std::size_t size_of(const std::vector<char>& bytes) { return bytes.size(); }

int next(int x) { return x + 1; }

std::vector<ray::ObjectRef<int>> makes_refs(int count) {
  std::vector<ray::ObjectRef<int>> refs;
  for (int i = 0; i < count; ++i) refs.push_back(ray::put(i));
  return refs;
}
std::size_t count_refs(const std::vector<ray::ObjectRef<int>>& left,
                       const std::vector<ray::ObjectRef<int>>& right) {
  return left.size() + right.size();
}

int deep(int levels) { return levels == 0 ? 0 : 1 + ray::get(ray::remote<deep>(levels - 1)); }

class Asker {
public:
  int value() const { return 1; }
  int ask(const ray::ActorHandle<Asker>& other) {
    return ray::get(ray::remote<&Asker::value>(other));
  }
  int ask_through(const ray::ActorHandle<Asker>& other, const ray::ActorHandle<Asker>& self) {
    return ray::get(ray::remote<&Asker::ask>(other, self));
  }
};

}  // namespace

TEST_CASE("F23 whatever a task throws comes back: as itself, or as its type's name and text") {
  ray::Runtime rt(faults::processes(1));
  CHECK(faults::error_of<std::out_of_range>([&] { rt.get(rt.remote<throws>(0)); }) == "as itself");
  CHECK_THAT(faults::error_of<ray::TaskError>([&] { rt.get(rt.remote<throws>(1)); }),
             ContainsSubstring("throws"));
  CHECK_THAT(faults::error_of<ray::TaskError>([&] { rt.get(rt.remote<throws>(2)); }),
             ContainsSubstring("Stubborn") && ContainsSubstring("has no way to travel"));
  const auto later = rt.remote<next>(rt.remote<throws>(2));
  const auto result = rt.try_get(later);
  REQUIRE_FALSE(result);
  const auto* error = dynamic_cast<const ray::TaskError*>(&result.error());
  REQUIRE(error != nullptr);
  CHECK(error->type_name().ends_with("Stubborn"));
  CHECK_THAT(error->what(), !ContainsSubstring("TaskError") && ContainsSubstring("did not run"));
  const std::string text =
      faults::error_of<std::runtime_error>([&] { rt.get(rt.remote<throws>(3)); });
  CHECK(text.size() > 60'000);
  CHECK(text.size() <= 70'000);
  CHECK(rt.get(rt.remote<throws>(9)) == 9);
}

TEST_CASE("F27 what cannot be written or read fails its task with a SerializationError") {
  ray::Runtime rt(faults::processes(1));
  const auto complains = [&](const auto& ref) {
    return faults::error_of<ray::SerializationError>([&] { rt.get(ref, faults::kDeadline); });
  };
  CHECK_THAT(complains(rt.remote<takes_opaque>(Opaque(1))), ContainsSubstring("Opaque"));
  CHECK_THAT(complains(rt.remote<makes_opaque>(1)), ContainsSubstring("Opaque"));
  CHECK_THAT(complains(rt.remote<takes_opaque>(rt.put(Opaque(1)))), ContainsSubstring("Opaque"));
  for (const int where : {1, 2}) {
    INFO(where);
    CHECK_THROWS_AS(rt.get(rt.remote<takes_refuses>(Refuses{where}), faults::kDeadline),
                    std::runtime_error);
    CHECK_THROWS_AS(rt.get(rt.remote<makes_refuses>(where), faults::kDeadline), std::runtime_error);
  }
  CHECK(rt.get(rt.remote<same>(1), faults::kDeadline) == 1);
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F27 a result of which a part cannot be written leaves nothing in the store") {
  ray::Runtime rt(faults::processes(1, std::uint64_t{16} << 20));
  for (int i = 0; i < 8; ++i) {
    const auto [bytes, opaque] = rt.remote<makes_half>(std::size_t{4} << 20);
    CHECK_THROWS_AS(rt.get(bytes, faults::kDeadline), ray::SerializationError);
  }
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F27 a value larger than the store is refused wherever it is made") {
  ray::Runtime rt(faults::processes(1, std::uint64_t{16} << 20));
  constexpr std::size_t kSize = std::size_t{32} << 20;
  CHECK_THROWS_AS(rt.get(rt.remote<makes_bytes>(kSize), faults::kDeadline),
                  ray::ObjectStoreFullError);
  CHECK_THROWS_AS(rt.put(std::vector<char>(kSize)), ray::ObjectStoreFullError);
  CHECK_THROWS_AS(rt.get(rt.remote<size_of>(std::vector<char>(kSize)), faults::kDeadline),
                  ray::ObjectStoreFullError);
  CHECK(rt.get(rt.remote<makes_bytes>(std::size_t{1} << 20), faults::kDeadline).size() == 1 << 20);
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F27 more references than a message holds are refused, or sent in several") {
  ray::Runtime rt(faults::processes(2));
  const auto too_many = rt.remote<makes_refs>(60'000);
  CHECK_THAT(faults::error_of<ray::SerializationError>([&] { rt.get(too_many); }),
             ContainsSubstring("60000 references"));
  const auto refs = makes_refs(60'000);
  CHECK_THROWS_AS(rt.get(rt.remote<count_refs>(refs, refs)), ray::SerializationError);
  const auto left = rt.remote<makes_refs>(40'000);
  const auto right = rt.remote<makes_refs>(40'000);
  CHECK(rt.get(rt.remote<count_refs>(left, right)) == 80'000);
}

TEST_CASE("F24 a long chain behind a failure fails, with the names of the first") {
  ray::Runtime rt(faults::processes(2));
  const int length = probes::scaled(100'000);
  const auto start = faults::Clock::now();
  std::vector<ray::ObjectRef<int>> refs{rt.remote<throws>(0)};
  for (int i = 0; i < length; ++i) refs.push_back(rt.remote<next>(refs.back()));
  CHECK(faults::error_of<std::out_of_range>([&] { rt.get(refs.back(), 40s); }) == "as itself");
  std::size_t failed = 0;
  for (const auto& ref : refs) failed += ray::try_get(ref).has_value() ? 0 : 1;
  CHECK(failed == refs.size());
  std::printf("F24: %d dependants failed in %.2f s\n", length, faults::seconds_since(start));
  refs.clear();
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F24 only the end of a long chain is kept, and the failure comes through it") {
  ray::Runtime rt(faults::processes(2));
  auto ref = rt.remote<throws>(0);
  for (int i = 0; i < probes::scaled(100'000); ++i) ref = rt.remote<next>(ref);
  CHECK(faults::error_of<std::out_of_range>([&] { rt.get(ref, 40s); }) == "as itself");
  ref = {};
  CHECK(faults::comes_to_nothing());
}

TEST_CASE("F28 a thousand tasks that wait within one another need few processes") {
  ray::Runtime rt(faults::processes(2));
  const int levels = probes::scaled(1000);  // Sanitizers make frames larger, and processes slow.
  const auto ref = rt.remote<deep>(levels);
  std::size_t most = 0;
  while (rt.wait(std::vector{ref}, {.timeout = 1ms}).ready.empty()) {
    most = std::max(most, faults::host().workers().size());
  }
  CHECK(rt.get(ref, faults::kDeadline) == levels);
  std::printf("F28: %d levels, %zu processes at most\n", levels, most);
  CHECK(most <= 64);
}

TEST_CASE("F28 actors that wait for themselves or for one another are told of the deadlock") {
  ray::Runtime rt(faults::processes(2));
  const auto a = rt.actor<Asker>();
  const auto b = rt.actor<Asker>();
  CHECK_THROWS_AS(rt.get(rt.remote<&Asker::ask>(a, a), faults::kDeadline), ray::DeadlockError);
  CHECK_THROWS_AS(rt.get(rt.remote<&Asker::ask_through>(a, b, a), faults::kDeadline),
                  ray::DeadlockError);
  CHECK(rt.get(rt.remote<&Asker::ask>(a, b), faults::kDeadline) == 1);
}
