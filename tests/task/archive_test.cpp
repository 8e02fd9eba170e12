// Values as bytes and back: every kind of type, the exact bytes, and bytes that are wrong.
#include "support/catch.hpp"

#include <ray/task/values.hpp>

#include <array>
#include <chrono>
#include <cmath>
#include <complex>
#include <deque>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

namespace {

using ray::InputArchive;
using ray::OutputArchive;
using ray::detail::field_count;

template <class T>
std::vector<std::byte> bytes_of(const T& value) {
  OutputArchive out;
  out(value);
  return out.bytes();
}

template <class T>
T from_bytes(std::span<const std::byte> bytes) {
  InputArchive in(bytes);
  T value{};
  in(value);
  in.finish("test");
  return value;
}

template <class T>
T again(const T& value) {
  return from_bytes<T>(bytes_of(value));
}

std::string hex(const std::vector<std::byte>& bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<unsigned>(byte) & 15];
  }
  return text;
}

std::vector<std::byte> unhex(std::string_view text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(std::byte(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

// --- types of a user's ---

struct Point {
  double x = 0;
  double y = 0;
  bool operator==(const Point&) const = default;
};
struct Shape {
  std::string name;
  std::vector<Point> corners;
  std::optional<Point> centre;
  std::map<std::string, int> tags;
  std::array<int, 3> colour{};
  int grid[2][2] = {};
  bool operator==(const Shape&) const = default;
};
enum class Colour : std::uint8_t { red, green };
struct Nothing {
  bool operator==(const Nothing&) const = default;
};
struct Tree {
  int value = 0;
  std::vector<Tree> children;
  bool operator==(const Tree&) const = default;
};
struct Chain {
  std::unique_ptr<Chain> next;
};

class Account {
public:
  Account() = default;
  Account(std::string owner, int cents) : owner_(std::move(owner)), cents_(cents) {}
  bool operator==(const Account&) const = default;

private:
  friend class ray::Access;
  template <class A>
  void serialize(A& archive) {
    archive(owner_, cents_);
  }
  std::string owner_;
  int cents_ = 0;
};

class Celsius {
public:
  Celsius() = default;
  explicit Celsius(double degrees) : degrees_(degrees) {}
  double degrees() const { return degrees_; }
  bool operator==(const Celsius&) const = default;

private:
  double degrees_ = 0;
};
template <class A>
void save(A& archive, const Celsius& value) {
  archive& value.degrees();
}
template <class A>
void load(A& archive, Celsius& value) {
  double degrees = 0;
  archive& degrees;
  value = Celsius(degrees);
}

class Reversed {
public:
  std::string text;
  void save(OutputArchive& out) const { out(std::string(text.rbegin(), text.rend())); }
  void load(InputArchive& in) {
    in(text);
    text = std::string(text.rbegin(), text.rend());
  }
  virtual ~Reversed() = default;
};

/// Writes what is gone when its function ends, and what stays.
struct Makes {
  std::string kept;
  std::vector<std::string> more;
  std::unique_ptr<std::string> elsewhere;
  template <class Archive>
  void serialize(Archive& archive) {
    std::string made = kept + kept;
    archive(made, kept, more);
    if (Archive::is_loading::value) elsewhere = std::make_unique<std::string>();
    archive(*elsewhere);
  }
};

// --- types that inherit what they say of themselves ---

struct Named {
  std::string name;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(name);
  }
};
struct Forgetful : Named {
  int age = 0;
};
struct Mindful : Named {
  int age = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    Named::serialize(archive);
    archive(age);
  }
};
struct NoMore : Named {};
struct Saved {
  double value = 0;
  char mark = 'a';
  void save(OutputArchive& out) const { out(value, mark); }
  void load(InputArchive& in) { in(value, mark); }
};
struct InThePadding : Saved {
  char more = 'b';
};
template <class T, int N>
struct Counted {
  template <class Archive>
  void serialize(Archive& archive) {
    archive(static_cast<T*>(this)->counts[N]);
  }
};
struct Three : Counted<Three, 2> {
  int counts[3] = {1, 2, 3};
};
template <class T>
struct Mixin {
  template <class Archive>
  void serialize(Archive& archive) {
    archive(static_cast<T*>(this)->age);
  }
};
struct Mixed : Mixin<Mixed> {
  int age = 0;
};

// --- types whose fields cannot be named ---

struct Base {
  int x = 0;
};
struct Derived : Base {
  int y = 0;
};
struct HasUnion {
  int kind = 0;
  union {
    int i;
    float f;
  };
};
class HasPrivate {
public:
  int x = 0;

private:
  [[maybe_unused]] int y_ = 0;
};
struct HasConst {
  const int x = 0;
};
struct NoDefault {
  explicit NoDefault(int given) : x(given) {}
  int x;
};
struct HasNoDefault {
  int x = 0;
  NoDefault inner;
};

}  // namespace

TEST_CASE("plain structs are taken field by field, and others are not taken for such") {
  STATIC_REQUIRE(field_count<Point>() == 2);
  STATIC_REQUIRE(field_count<Shape>() == 6);
  STATIC_REQUIRE(field_count<Tree>() == 2);
  STATIC_REQUIRE(field_count<Chain>() == 1);
  STATIC_REQUIRE(field_count<Nothing>() == 0);
  STATIC_REQUIRE(field_count<Derived>() == 0);
  STATIC_REQUIRE(field_count<HasUnion>() == 0);
  STATIC_REQUIRE(field_count<HasPrivate>() == 0);
  STATIC_REQUIRE(field_count<HasConst>() == 0);
  STATIC_REQUIRE(field_count<HasNoDefault>() == 0);
  STATIC_REQUIRE(field_count<std::string>() == 0);
  STATIC_REQUIRE(field_count<int>() == 0);
}

TEST_CASE("what a type's own function has just made is copied, and only that is") {
  Makes makes;
  makes.kept = std::string(1000, 'k');
  makes.more.assign(2, std::string(1000, 'm'));
  makes.elsewhere = std::make_unique<std::string>(1000, 'e');
  OutputArchive out(500);
  out(std::vector{5, 6}, makes);
  REQUIRE(out.beside().size() == 3);
  CHECK(out.beside()[0].data() == reinterpret_cast<const std::byte*>(makes.kept.data()));
  CHECK(out.beside()[2].data() == reinterpret_cast<const std::byte*>(makes.more[1].data()));
  const std::vector<OutputArchive::Piece> beside = out.beside();
  InputArchive in(out.bytes(), beside);
  std::vector<int> numbers;
  Makes again;
  in(numbers, again);
  in.finish("test");
  CHECK(again.kept == makes.kept);
  CHECK(again.more == makes.more);
  CHECK(*again.elsewhere == *makes.elsewhere);
}

namespace {

/// Its elements are made when they are looked at.
struct Makers {
  using value_type = std::string;
  std::vector<char> letters;
  struct Iterator {
    const char* at;
    std::string operator*() const { return std::string(1000, *at); }
    Iterator& operator++() {
      ++at;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return at != other.at; }
  };
  void clear() { letters.clear(); }
  std::size_t size() const { return letters.size(); }
  Iterator begin() const { return {letters.data()}; }
  Iterator end() const { return {letters.data() + letters.size()}; }
  void insert(Iterator, std::string&& text) { letters.push_back(text.at(0)); }
};

}  // namespace

TEST_CASE("elements that a container makes when they are looked at are copied") {
  OutputArchive out(500);
  out(Makers{{'a', 'b', 'c'}});
  CHECK(out.beside().empty());
  InputArchive in(out.bytes());
  Makers again;
  in(again);
  CHECK(again.letters == std::vector{'a', 'b', 'c'});
}

TEST_CASE("a type that inherits its serialize and has fields of its own is refused by name") {
  CHECK_THROWS_WITH(bytes_of(Forgetful()),
                    Catch::Matchers::ContainsSubstring("Forgetful cannot leave") &&
                        Catch::Matchers::ContainsSubstring("serialize from") &&
                        Catch::Matchers::ContainsSubstring("Named"));
  CHECK_THROWS_WITH(bytes_of(InThePadding()), Catch::Matchers::ContainsSubstring("Saved"));
  CHECK(again(Three()).counts[2] == 3);
  Mindful mindful;
  mindful.name = "x";
  mindful.age = 7;
  CHECK(again(mindful).name == "x");
  CHECK(again(mindful).age == 7);
  NoMore no_more;
  no_more.name = "y";
  CHECK(again(no_more).name == "y");
  Mixed mixed;
  mixed.age = 8;
  CHECK(again(mixed).age == 8);
}

TEST_CASE("numbers come back as they were") {
  CHECK(again(std::complex<double>(1.5, -2)) == std::complex<double>(1.5, -2));
  CHECK(again(true));
  CHECK(again('x') == 'x');
  CHECK(again(std::int8_t{-128}) == -128);
  CHECK(again(std::numeric_limits<std::uint64_t>::max()) ==
        std::numeric_limits<std::uint64_t>::max());
  CHECK(again(-0.0) == 0);
  CHECK(std::signbit(again(-0.0)));
  CHECK(std::isnan(again(std::numeric_limits<float>::quiet_NaN())));
  CHECK(again(3.25L) == 3.25L);
  CHECK(again(Colour::green) == Colour::green);
  CHECK(again(std::byte{7}) == std::byte{7});
}

TEST_CASE("strings and containers come back as they were") {
  using namespace std::string_literals;
  CHECK(again("a\0b"s) == "a\0b"s);
  CHECK(again(std::wstring(L"wide")) == L"wide");
  CHECK(again(std::string()).empty());
  CHECK(again(std::vector<int>{1, 2, 3}) == std::vector<int>{1, 2, 3});
  CHECK(again(std::vector<bool>{true, false, true}) == std::vector<bool>{true, false, true});
  CHECK(again(std::vector<std::string>{"", "b"}) == std::vector<std::string>{"", "b"});
  CHECK(again(std::vector<std::vector<double>>{{}, {1}}) ==
        std::vector<std::vector<double>>{{}, {1}});
  CHECK(again(std::deque<int>{1, 2}) == std::deque<int>{1, 2});
  CHECK(again(std::list<Point>{{1, 2}}) == std::list<Point>{{1, 2}});
  CHECK(again(std::set<std::string>{"b", "a"}) == std::set<std::string>{"a", "b"});
  CHECK(again(std::multiset<int>{2, 1, 2}) == std::multiset<int>{1, 2, 2});
  CHECK(again(std::map<int, std::string>{{1, "x"}}) == std::map<int, std::string>{{1, "x"}});
  CHECK(again(std::unordered_map<std::string, int>{{"a", 1}, {"b", 2}}) ==
        std::unordered_map<std::string, int>{{"a", 1}, {"b", 2}});
  CHECK(again(std::unordered_set<int>{1, 2}) == std::unordered_set<int>{1, 2});
  CHECK(again(std::array<int, 2>{1, 2}) == std::array<int, 2>{1, 2});
  CHECK(again(std::array<std::string, 2>{"a", "b"}) == std::array<std::string, 2>{"a", "b"});
  CHECK(again(std::vector<Nothing>(3)).size() == 3);
}

TEST_CASE("pairs, tuples, optional, variant, unique_ptr and times come back as they were") {
  using namespace std::chrono_literals;
  CHECK(again(std::pair<int, std::string>{1, "x"}) == std::pair<int, std::string>{1, "x"});
  CHECK(again(std::tuple<int, Point, std::string>{1, {2, 3}, "x"}) ==
        std::tuple<int, Point, std::string>{1, {2, 3}, "x"});
  CHECK(again(std::tuple<>()) == std::tuple<>());
  CHECK(again(std::optional<int>()) == std::nullopt);
  CHECK(again(std::optional<std::string>("x")) == "x");
  using Either = std::variant<std::monostate, int, std::string>;
  CHECK(again(Either()) == Either());
  CHECK(again(Either("x")) == Either("x"));
  CHECK(*again(std::vector<std::optional<int>>{3})[0] == 3);
  OutputArchive out;
  out(std::make_unique<Point>(Point{1, 2}), std::unique_ptr<Point>());
  InputArchive in(out.bytes());
  std::unique_ptr<Point> full;
  std::unique_ptr<Point> empty = std::make_unique<Point>();
  in(full, empty);
  CHECK(*full == Point{1, 2});
  CHECK(empty == nullptr);
  CHECK(again(std::chrono::nanoseconds(5ms)) == 5ms);
  const auto now = std::chrono::system_clock::time_point(1234s);
  CHECK(again(now) == now);
}

TEST_CASE("a user's types come back as they were") {
  const Shape shape{"box", {{1, 2}, {3, 4}}, Point{2, 3}, {{"a", 1}}, {1, 2, 3}, {{1, 2}, {3, 4}}};
  CHECK(again(shape) == shape);
  const Tree tree{1, {{2, {}}, {3, {{4, {}}}}}};
  CHECK(again(tree) == tree);
  CHECK(again(Account("ann", 5)) == Account("ann", 5));
  CHECK(again(Celsius(36.6)) == Celsius(36.6));
  Reversed word;
  word.text = "abc";
  CHECK(again(word).text == "abc");
  CHECK(again(std::vector<Account>{{"a", 1}, {"b", 2}}).size() == 2);
}

TEST_CASE("the bytes are what wire.md says") {
  CHECK(hex(bytes_of(std::int32_t{-2})) == "feffffff");
  CHECK(hex(bytes_of(true)) == "01");
  CHECK(hex(bytes_of(1.5)) == "000000000000f83f");
  CHECK(hex(bytes_of(std::string("abc"))) == "06616263");
  CHECK(hex(bytes_of(std::vector<std::int16_t>{1, 2})) == "0801000200");
  CHECK(hex(bytes_of(std::vector<std::string>{"a", ""})) == "02026100");
  CHECK(hex(bytes_of(std::string(100, 'x'))).substr(0, 6) == "c80178");
  CHECK(hex(bytes_of(std::optional<std::uint8_t>(7))) == "0107");
  CHECK(hex(bytes_of(std::variant<int, std::uint8_t>(std::uint8_t{7}))) == "0107");
  CHECK(hex(bytes_of(std::pair<std::uint8_t, std::uint8_t>(1, 2))) == "0102");
  CHECK(hex(bytes_of(std::map<std::uint8_t, std::uint8_t>{{1, 2}})) == "010102");
  CHECK(hex(bytes_of(Nothing())) == "00");
  CHECK(hex(bytes_of(3.25L)) == "00000000000000d00040");
}

TEST_CASE("contiguous data over the threshold is not copied, and read from where it lies") {
  const std::vector<double> numbers(1000, 1.5);
  OutputArchive out(4096);
  out(std::string("head"), numbers, std::string("tail"));
  REQUIRE(out.beside().size() == 1);
  CHECK(static_cast<const void*>(out.beside()[0].data()) == numbers.data());
  CHECK(out.bytes().size() < 20);
  InputArchive in(out.bytes(), out.beside());
  std::string head;
  std::vector<double> read;
  std::string tail;
  in(head, read, tail);
  in.finish("test");
  CHECK(read == numbers);
  CHECK(tail == "tail");

  InputArchive without(out.bytes());
  CHECK_THROWS_AS(without(head, read, tail), ray::SerializationError);
  const std::vector<InputArchive::Piece> shorter{out.beside()[0].subspan(8)};
  InputArchive cut(out.bytes(), shorter);
  CHECK_THROWS_AS(cut(head, read, tail), ray::SerializationError);
}

TEST_CASE("what cannot be sent is refused by name") {
  const auto text_of = [](const auto& value) {
    try {
      bytes_of(value);
    } catch (const ray::SerializationError& error) {
      return std::string(error.what());
    }
    return std::string("nothing thrown");
  };
  using Catch::Matchers::ContainsSubstring;
  int x = 0;
  CHECK_THAT(text_of(&x), ContainsSubstring("int*") || ContainsSubstring("int *"));
  CHECK_THAT(text_of(std::shared_ptr<int>()), ContainsSubstring("shared_ptr"));
  CHECK_THAT(text_of(std::string_view("x")), ContainsSubstring("string_view"));
  CHECK_THAT(text_of(std::function<int()>()), ContainsSubstring("function"));
  CHECK_THAT(text_of(Derived()), ContainsSubstring("Derived"));
  CHECK_THAT(text_of(HasUnion()), ContainsSubstring("HasUnion"));
  CHECK_THAT(text_of(std::vector<HasPrivate>(1)), ContainsSubstring("HasPrivate"));
  CHECK_THAT(text_of(std::optional<NoDefault>(1)), ContainsSubstring("NoDefault"));
  CHECK_THAT(text_of(NoDefault(1)), ContainsSubstring("give it a public member"));
}

TEST_CASE("what lies too deep is refused, not followed") {
  Chain chain;
  Chain* last = &chain;
  for (int i = 0; i < 20; ++i) last = (last->next = std::make_unique<Chain>()).get();
  CHECK_NOTHROW(again(std::move(chain)));
  Chain longer;
  last = &longer;
  for (int i = 0; i < 200; ++i) last = (last->next = std::make_unique<Chain>()).get();
  CHECK_THROWS_AS(bytes_of(longer), ray::SerializationError);
  const std::vector<std::byte> hostile(200'001, std::byte{1});
  CHECK_THROWS_AS(from_bytes<Chain>(hostile), ray::SerializationError);
}

TEST_CASE("a size is believed as far as there are bytes") {
  CHECK_THROWS_AS(from_bytes<std::vector<std::uint8_t>>(unhex("8080808010")),
                  ray::SerializationError);
  CHECK_THROWS_AS(from_bytes<std::vector<std::string>>(unhex("ffffffffffffffffff01")),
                  ray::SerializationError);
  CHECK_THROWS_AS(from_bytes<std::string>(unhex("0661")), ray::SerializationError);
  CHECK_THROWS_AS(from_bytes<std::vector<Nothing>>(unhex("ffffffff0f00")), ray::SerializationError);
  // Longer than it need be, over 64 bits, part of a number, not a bool, no such alternative.
  CHECK_THROWS_AS(from_bytes<std::string>(unhex("8000")), ray::SerializationError);
  CHECK_THROWS_AS(from_bytes<std::string>(unhex("ffffffffffffffffff7f")), ray::SerializationError);
  CHECK_THROWS_AS(from_bytes<std::vector<int>>(unhex("06010203")), ray::SerializationError);
  CHECK_THROWS_AS(from_bytes<bool>(unhex("02")), ray::SerializationError);
  CHECK_THROWS_AS((from_bytes<std::variant<int, char>>(unhex("0200"))), ray::SerializationError);
  CHECK_THROWS_AS(from_bytes<int>(unhex("0000")), ray::SerializationError);
  CHECK_THROWS_AS(from_bytes<int>(unhex("0000000000")), ray::SerializationError);
}

TEST_CASE("bytes with any error give a value or an error") {
  const Shape shape{"box", {{1, 2}, {3, 4}}, Point{2, 3}, {{"a", 1}}, {1, 2, 3}, {{1, 2}, {3, 4}}};
  const std::vector<std::byte> good = bytes_of(shape);
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    CHECK_THROWS_AS(from_bytes<Shape>(std::span(good).first(cut)), ray::SerializationError);
  }
  std::mt19937_64 random(7);
  int values = 0;
  for (int i = 0; i < 20'000; ++i) {
    auto bad = good;
    for (auto changes = 1 + random() % 4; changes > 0; --changes) {
      bad[random() % bad.size()] = std::byte(random());
    }
    try {
      // What is read without complaint is written as the same bytes: there is one way to write it.
      const auto value = from_bytes<Shape>(bad);
      if (value.tags.size() < 2) CHECK(bytes_of(value) == bad);
      ++values;
    } catch (const ray::SerializationError&) {
    }
  }
  CHECK(values > 1000);
}
