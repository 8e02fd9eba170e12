// The entry that libFuzzer calls; RAY_FUZZ_TARGET is the name of a target.
#include "fuzz/targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fuzz::RAY_FUZZ_TARGET(std::as_bytes(std::span(bytes, size)));
  return 0;
}
