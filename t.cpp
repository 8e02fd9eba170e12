#include <ray/ray.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>
int f(std::unique_ptr<int>); void c(std::unique_ptr<int> p){ ray::remote<f>(p); }
