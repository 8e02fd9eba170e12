// Types that were written for cereal, as values and arguments of tasks.
#include "support/catch.hpp"

#include <cereal/types/bitset.hpp>
#include <cereal/types/complex.hpp>
#include <cereal/types/map.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>

#include <ray/cereal.hpp>
#include <ray/ray.hpp>

#include <bitset>
#include <complex>
#include <map>
#include <string>
#include <vector>

namespace cereal_types {

struct Named {
  int number = 0;
  std::vector<std::string> words;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(number), cereal::make_nvp("the words", words));
  }
  bool operator==(const Named&) const = default;
};

class Hidden {
public:
  Hidden() = default;
  explicit Hidden(int value) : value_(value) {}
  int value() const { return value_; }

private:
  friend class cereal::access;
  template <class Archive>
  void save(Archive& archive) const {
    archive(value_);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(value_);
  }
  int value_ = 0;
};

struct Versioned {
  int first = 0;
  int second = 0;  // Since version 2.
  std::uint32_t read_as = 0;
  template <class Archive>
  void serialize(Archive& archive, std::uint32_t const version) {
    archive(first);
    if (version >= 2) archive(second);
    read_as = version;
  }
};

/// An id as its text.
struct Minimal {
  std::string text;
  template <class Archive>
  std::string save_minimal(const Archive&) const {
    return text;
  }
  template <class Archive>
  void load_minimal(const Archive&, const std::string& given) {
    text = given;
  }
};

struct Base {
  int base = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(base);
  }
};
struct Derived : Base {
  Hidden hidden;
  std::map<std::string, Versioned> by_name;
  std::complex<double> number;
  std::bitset<12> bits;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::base_class<Base>(this), hidden, by_name, number, bits);
  }
};

Derived change(const Derived& given, Named named, Minimal minimal) {
  Derived changed = given;
  changed.base += named.number;
  changed.by_name[minimal.text] = {1, 2, 0};
  return changed;
}

template <class T>
T there_and_back(const T& value) {
  ray::OutputArchive out;
  out(value);
  ray::InputArchive in(out.bytes());
  T read{};
  in(read);
  in.finish("there_and_back");
  return read;
}

}  // namespace cereal_types

CEREAL_CLASS_VERSION(cereal_types::Versioned, 3)

using namespace cereal_types;

TEST_CASE("the archives read and write what was written for cereal") {
  CHECK(there_and_back(Named{7, {"a", "b"}}) == Named{7, {"a", "b"}});
  CHECK(there_and_back(Hidden(5)).value() == 5);
  CHECK(there_and_back(std::vector<Hidden>{Hidden(1), Hidden(2)}).at(1).value() == 2);
  const Versioned versioned = there_and_back(Versioned{1, 2, 0});
  CHECK(versioned.first == 1);
  CHECK(versioned.second == 2);
  CHECK(versioned.read_as == 3);
  CHECK(there_and_back(Minimal{"text"}).text == "text");
  CHECK(there_and_back(std::complex<double>(1, 2)) == std::complex<double>(1, 2));
  CHECK(there_and_back(std::bitset<12>(0x5a)) == std::bitset<12>(0x5a));
}

TEST_CASE("broken bytes of a cereal type are a SerializationError") {
  ray::OutputArchive out;
  out(Named{7, {"some", "words"}});
  for (std::size_t size = 0; size < out.bytes().size(); ++size) {
    ray::InputArchive in(std::span(out.bytes()).first(size));
    Named named;
    CHECK_THROWS_AS(in(named), ray::SerializationError);
  }
}

TEST_CASE("types that were written for cereal cross to worker processes and back") {
  ray::Runtime rt({.num_cpus = 1, .isolation = ray::Isolation::processes});
  Derived given;
  given.base = 1;
  given.hidden = Hidden(9);
  given.number = {3, 4};
  given.bits = 0x123;
  given.by_name["x"] = {5, 6, 0};
  const Derived got = rt.get(rt.remote<change>(rt.put(given), Named{2, {}}, Minimal{"new"}));
  CHECK(got.base == 3);
  CHECK(got.hidden.value() == 9);
  CHECK(got.number == std::complex<double>(3, 4));
  CHECK(got.bits == 0x123);
  CHECK(got.by_name.at("x").second == 6);
  CHECK(got.by_name.at("new").first == 1);
}
