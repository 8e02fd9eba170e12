// Not recorded.

#include "events/events.hpp"

int main(int argc, char** argv) { return events::run(argc, argv, "ray", false); }
