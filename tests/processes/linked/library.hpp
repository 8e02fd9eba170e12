// Tasks that another library holds; the program is linked with it in several ways.
#pragma once

#include <ray/ray.hpp>

#include <string>

namespace library {

/// Its process, and the text with a mark.
struct Answer {
  int pid = 0;
  std::string text;
};
Answer answer(const std::string& text);

class Counter {
public:
  explicit Counter(int start);
  int add(int number);

private:
  int sum_;
};

/// Submits a task of the library's own file: for what is linked into the program itself.
int submit_here(int number);

}  // namespace library
