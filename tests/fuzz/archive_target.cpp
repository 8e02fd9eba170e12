#include "fuzz/targets.hpp"

#include <ray/task/values.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace {

enum class Color : std::uint8_t { red, green };

struct Leaf {
  std::string name;
  std::optional<double> weight;
  bool marked = false;
};

struct Tree {
  std::unique_ptr<Tree> left;
  std::unique_ptr<Tree> right;
  std::int16_t value = 0;
};

/// One of everything that the archives know.
struct Shape {
  std::string text;
  std::vector<std::int32_t> numbers;
  std::vector<std::vector<std::string>> nested;
  std::map<std::string, std::vector<Leaf>> leaves;
  std::variant<std::monostate, Leaf, std::vector<bool>, std::u16string> one_of;
  std::optional<std::map<std::uint64_t, Color>> colors;
  std::tuple<std::array<std::uint8_t, 3>, long double, std::chrono::milliseconds> several;
  std::set<std::pair<std::int8_t, std::string>> pairs;
  Tree tree;
};

std::vector<std::byte> written(const Shape& shape) {
  ray::OutputArchive out;
  out(shape);
  return out.bytes();
}

Shape read(fuzz::Bytes bytes) {
  ray::InputArchive in(bytes);
  Shape shape;
  in(shape);
  in.finish("Shape");
  return shape;
}

}  // namespace

/// What is read can be written, and read to the same. (The first bytes may differ: a map's entries
/// may have come in any order, and twice.)
void fuzz::archive(Bytes bytes) {
  std::vector<std::byte> first;
  try {
    first = written(read(bytes));
  } catch (const ray::SerializationError&) {
    return;
  }
  require(first.size() <= bytes.size(), "it has grown");
  require(written(read(first)) == first, "what was written is read as something else");
}
