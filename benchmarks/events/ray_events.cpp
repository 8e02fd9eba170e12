// Recorded.

#include "events/events.hpp"

int main(int argc, char** argv) { return events::run(argc, argv, "ray_events", true); }
