// The targets of the fuzzer with what it has found so far, and with every beginning of that.
#include "support/catch.hpp"

#include "fuzz/targets.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

std::vector<std::byte> content_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)),
                         std::istreambuf_iterator<char>());
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// Each input in memory of exactly its size, so that the sanitizers see the end.
void replay(const char* target, void (*run)(fuzz::Bytes)) {
  std::size_t files = 0;
  const auto folder = std::filesystem::path(RAY_SOURCE_DIR) / "tests/fuzz/corpus" / target;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    INFO(file.path());
    const std::vector<std::byte> whole = content_of(file.path());
    CHECK_NOTHROW(run(whole));
    for (std::size_t size = 0; size < whole.size(); size += 1 + whole.size() / 256) {
      const std::vector<std::byte> begin(whole.begin(),
                                         whole.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK_NOTHROW(run(begin));
    }
    ++files;
  }
  CHECK(files > 0);
}

}  // namespace

TEST_CASE("the fuzzer's inputs: messages") { replay("message", fuzz::message); }
TEST_CASE("the fuzzer's inputs: failures") { replay("failure", fuzz::failure); }
TEST_CASE("the fuzzer's inputs: stored objects") { replay("stored", fuzz::stored); }
TEST_CASE("the fuzzer's inputs: values") { replay("archive", fuzz::archive); }
