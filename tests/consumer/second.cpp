#include <ray/ray.hpp>

int twice(int x) { return 2 * x; }

int second() { return ray::get(ray::remote<twice>(1)); }
