// A small program whose start is measured: it writes one byte and ends.

#include <unistd.h>

int main() { return write(STDOUT_FILENO, "x", 1) == 1 ? 0 : 1; }
