#pragma once

// One run of the microbenchmark: its arguments, the rows it prints, and the JSON file.

#include <ray/ray.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ray_microbenchmark/timing.hpp"

namespace microbenchmark {

/// The exit code of a run for which the runtime was refused; to scripts it means "skipped".
inline constexpr int kRefused = 77;

struct Arguments {
  ray::Isolation isolation = ray::Isolation::threads;
  std::vector<std::string> only;  // Parts of names; none: every row.
  std::string json;
  bool quick = false;

  [[noreturn]] static void usage(std::string_view wrong) {
    std::fprintf(stderr,
                 "wrong argument: %s\nusage: ray_microbenchmark [--isolation=threads|processes]"
                 " [--only PATTERN]... [--json FILE] [--quick] [--ray-...=...]\n",
                 std::string(wrong).c_str());
    std::exit(2);
  }

  static ray::Isolation isolation_of(const std::string& name) {
    if (name == "threads") return ray::Isolation::threads;
    if (name == "processes") return ray::Isolation::processes;
    usage("--isolation=" + name);
  }

  /// `--key=value` or `--key value`; what begins with --ray- is left to ray::init.
  static Arguments parse(int argc, char** argv) {
    Arguments result;
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      if (argument.starts_with("--ray-")) continue;
      if (argument == "--quick") {
        result.quick = true;
        continue;
      }
      const std::size_t equals = argument.find('=');
      const std::string key = argument.substr(0, equals);
      if (key != "--isolation" && key != "--only" && key != "--json") usage(argument);
      if (equals == std::string::npos && ++i == argc) usage(argument);
      const std::string value = equals == std::string::npos ? argv[i] : argument.substr(equals + 1);
      if (key == "--isolation") result.isolation = isolation_of(value);
      if (key == "--only") result.only.push_back(value);
      if (key == "--json") result.json = value;
    }
    return result;
  }
};

/// `text` between quotes, as JSON has it.
inline std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    char escaped[8];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// Owns: what was measured so far. Threads: the main thread only.
class Session {
public:
  explicit Session(Arguments arguments)
      : arguments_(std::move(arguments)), timing_(arguments_.quick ? kQuick : Timing{}) {}

  /// Measures what `prepare()` returns, which is called only when the row is wanted.
  template <class Prepare>
  void row(std::string_view name, double multiplier, Prepare prepare) {
    if (!is_wanted(name)) return;
    try {
      const auto call = prepare();
      std::this_thread::sleep_for(timing_.pause);
      print(name, measure<std::chrono::steady_clock>(timing_, multiplier, call));
    } catch (const std::exception& error) {
      failed_ = true;
      note(name, "failed", error.what());
    }
  }

  /// A row of Ray's that needs what this library does not have.
  void missing(std::string_view name, std::string_view needs) {
    if (is_wanted(name)) note(name, "not in this version", "needs " + std::string(needs));
  }

  /// Writes the file and returns the exit code of the program.
  int finish(ray::Isolation isolation, double cpus) {
    if (rows_.empty()) {
      std::fprintf(stderr, "no row has a name that --only matches\n");
      return 2;
    }
    std::string text = "{\"isolation\":";
    text += isolation == ray::Isolation::processes ? "\"processes\"" : "\"threads\"";
    text += ",\"cpus\":" + std::to_string(cpus);
    text += ",\"quick\":" + std::string(arguments_.quick ? "true" : "false") + ",\"rows\":[";
    for (std::size_t i = 0; i < rows_.size(); ++i) text += (i == 0 ? "\n " : ",\n ") + rows_[i];
    return write(text + "\n]}\n") && !failed_ ? 0 : 1;
  }

  /// The same when there is no runtime to measure.
  int refuse(std::string_view why) {
    std::fprintf(stderr, "refused: %s\n", std::string(why).c_str());
    return write("{\"refused\":" + quoted(why) + "}\n") ? kRefused : 1;
  }

private:
  bool is_wanted(std::string_view name) const {
    if (arguments_.only.empty()) return true;
    for (const std::string& pattern : arguments_.only) {
      if (name.find(pattern) != std::string_view::npos) return true;
    }
    return false;
  }

  void print(std::string_view name, const Figure& figure) {
    std::printf("%s per second %.2f +- %.2f\n", std::string(name).c_str(), figure.mean,
                figure.deviation);
    std::fflush(stdout);
    std::string row = "{\"name\":" + quoted(name) + ",\"mean\":" + std::to_string(figure.mean) +
                      ",\"sd\":" + std::to_string(figure.deviation) + ",\"rounds\":[";
    for (std::size_t i = 0; i < figure.rounds.size(); ++i)
      row += (i == 0 ? "" : ",") + std::to_string(figure.rounds[i]);
    rows_.push_back(row + "]}");
  }

  void note(std::string_view name, std::string_view status, std::string_view why) {
    std::printf("%s: %s: %s\n", std::string(name).c_str(), std::string(status).c_str(),
                std::string(why).c_str());
    std::fflush(stdout);
    rows_.push_back("{\"name\":" + quoted(name) + ",\"status\":" + quoted(status) +
                    ",\"why\":" + quoted(why) + "}");
  }

  bool write(const std::string& text) const {
    if (arguments_.json.empty()) return true;
    std::ofstream file(arguments_.json);
    file << text;
    file.close();
    if (!file) std::fprintf(stderr, "cannot write %s\n", arguments_.json.c_str());
    return static_cast<bool>(file);
  }

  Arguments arguments_;
  Timing timing_;
  std::vector<std::string> rows_;  // Each a JSON object.
  bool failed_ = false;
};

}  // namespace microbenchmark
