// Counts words in text files: map, shuffle, reduce. Notice: each file is one map task, whose result
// is a table per reducer; a reducer takes the references to its tables as a vector and gets them
// itself, so that main() never touches the data in between. One pass without tasks checks it.
//
//   word_count [file...]          (without files: the texts in /usr/share/common-licenses)
#include <ray/ray.hpp>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

using Counts = std::map<std::string, long>;
constexpr std::size_t kReducers = 4;

Counts count_words(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  Counts counts;
  std::string word;
  for (char c; file.get(c);) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalpha(byte)) {
      word += static_cast<char>(std::tolower(byte));
    } else if (!word.empty()) {
      ++counts[std::exchange(word, {})];
    }
  }
  if (!word.empty()) ++counts[word];
  return counts;
}

// Words go to reducers by their hash: the reducers' tables then have no word in common.
std::vector<Counts> map_file(const std::string& path) {
  std::vector<Counts> parts(kReducers);
  for (auto& [word, count] : count_words(path)) {
    parts[std::hash<std::string>{}(word) % kReducers].emplace(word, count);
  }
  return parts;
}

Counts reduce(std::size_t part, const std::vector<ray::ObjectRef<std::vector<Counts>>>& mapped) {
  Counts sum;
  for (const auto& ref : mapped) {
    for (const auto& [word, count] : ray::get(ref)[part]) sum[word] += count;
  }
  return sum;
}

std::vector<std::string> files_to_read(int argc, char** argv) {
  std::vector<std::string> paths(argv + 1, argv + argc);
  if (!paths.empty()) return paths;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/share/common-licenses")) {
    if (entry.is_regular_file() && !entry.is_symlink()) paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

int main(int argc, char** argv) {
  ray::init(argc, argv);
  const std::vector<std::string> paths = files_to_read(argc, argv);

  std::vector<ray::ObjectRef<std::vector<Counts>>> mapped;
  for (const std::string& path : paths) mapped.push_back(ray::remote<map_file>(path));
  std::vector<ray::ObjectRef<Counts>> reduced;
  for (std::size_t part = 0; part < kReducers; ++part) {
    reduced.push_back(ray::remote<reduce>(part, mapped));
  }
  Counts total;
  for (const auto& ref : reduced) total.insert(ray::get(ref).begin(), ray::get(ref).end());

  std::vector<std::pair<std::string, long>> top(total.begin(), total.end());
  std::stable_sort(top.begin(), top.end(), [](auto& a, auto& b) { return a.second > b.second; });
  long words = 0;
  for (const auto& [word, count] : top) words += count;
  std::printf("%zu files, %ld words, %zu different\n", paths.size(), words, top.size());
  top.resize(std::min<std::size_t>(top.size(), 10));
  for (const auto& [word, count] : top) std::printf("%8ld %s\n", count, word.c_str());

  Counts expected;
  for (const std::string& path : paths) {
    for (const auto& [word, count] : count_words(path)) expected[word] += count;
  }
  if (total == expected) return 0;
  std::printf("WRONG: the counts differ from a plain count\n");
  return 1;
}
