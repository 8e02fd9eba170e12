#include "runtime/config.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <ray/error.hpp>

#include "scheduler/resources.hpp"

extern char** environ;  // NOLINT: POSIX declares it nowhere.

namespace ray::detail {

namespace {

[[noreturn]] void bad(std::string_view key, std::string_view value, std::string_view why) {
  throw InvalidArgumentError(std::string(key) + "=" + std::string(value.substr(0, 100)) + ": " +
                             std::string(why));
}

double number(std::string_view key, std::string_view value, const AmountLimits& limits) {
  double result = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
  if (error != std::errc() || end != value.data() + value.size() || !limits.allow(result)) {
    bad(key, value, limits.words);
  }
  return result;
}

std::uint64_t whole(std::string_view key, std::string_view value, std::uint64_t most) {
  std::uint64_t result = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
  if (error != std::errc() || end != value.data() + value.size() || result > most) {
    bad(key, value, "must be a whole number from 0 to " + std::to_string(most));
  }
  return result;
}

bool truth(std::string_view key, std::string_view value) {
  if (value == "1" || value == "true" || value == "yes" || value == "on") return true;
  if (value == "0" || value == "false" || value == "no" || value == "off") return false;
  bad(key, value, "must be 1 or 0, true or false");
}

std::map<std::string, double> amounts(std::string_view key, std::string_view value) {
  std::map<std::string, double> result;
  for (std::string_view rest = value; !rest.empty();) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = rest.substr(0, comma);
    const std::size_t equals = item.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
      bad(key, value, "must read name=amount,name=amount");
    }
    const std::string name(item.substr(0, equals));
    const std::string whose = std::string(key) + "[\"" + name + "\"]";
    result[name] = number(whose, item.substr(equals + 1), kAmountLimits);
    rest = comma == std::string_view::npos ? "" : rest.substr(comma + 1);
  }
  return result;
}

bool is_text(std::string_view value) {
  for (const char c : value) {
    if (static_cast<unsigned char>(c) < 0x20) return false;
  }
  return true;
}

std::string text(std::string_view key, std::string_view value) {
  if (!is_text(value)) bad(key, "…", "has control characters");
  return std::string(value);
}

constexpr std::uint64_t kThreadsMax = 1'000'000;
constexpr std::uint64_t kEventsMax = 1'000'000'000;

/// One setting: its name with '_', whether the options still have the default, and how to set it.
struct Setting {
  const char* name;
  bool (*is_default)(const RuntimeOptions&);
  void (*set)(RuntimeOptions&, std::string_view key, std::string_view value);
};

using Options = RuntimeOptions;
using View = std::string_view;

const Setting kSettings[] = {
    {"num_cpus", [](const Options& o) { return o.num_cpus == 0; },
     [](Options& o, View k, View v) { o.num_cpus = number(k, v, kSlotLimits); }},
    {"num_gpus", [](const Options& o) { return o.num_gpus == 0; },
     [](Options& o, View k, View v) { o.num_gpus = number(k, v, kProcessorLimits); }},
    {"resources", [](const Options& o) { return o.resources.empty(); },
     [](Options& o, View k, View v) { o.resources = amounts(k, v); }},
    {"isolation", [](const Options& o) { return o.isolation == Isolation::threads; },
     [](Options& o, View k, View v) {
       if (v != "threads" && v != "processes") bad(k, v, "must be threads or processes");
       o.isolation = v == "threads" ? Isolation::threads : Isolation::processes;
     }},
    {"num_nodes", [](const Options& o) { return o.num_nodes == 1; },
     [](Options& o, View k, View v) { o.num_nodes = static_cast<int>(whole(k, v, 100'000)); }},
    {"address", [](const Options& o) { return o.address.empty(); },
     [](Options& o, View k, View v) { o.address = text(k, v); }},
    {"object_store_bytes", [](const Options& o) { return o.object_store_bytes == 0; },
     [](Options& o, View k, View v) {
       o.object_store_bytes = whole(k, v, std::uint64_t{1} << 62);
     }},
    {"spill_directory", [](const Options& o) { return o.spill_directory.empty(); },
     [](Options& o, View k, View v) { o.spill_directory = text(k, v); }},
    {"name", [](const Options& o) { return o.name.empty(); },
     [](Options& o, View k, View v) { o.name = text(k, v); }},
    {"task_events", [](const Options& o) { return !o.task_events; },
     [](Options& o, View k, View v) { o.task_events = truth(k, v); }},
    {"max_task_events", [](const Options& o) { return o.max_task_events == 100'000; },
     [](Options& o, View k, View v) { o.max_task_events = whole(k, v, kEventsMax); }},
    {"max_threads", [](const Options& o) { return o.max_threads == 0; },
     [](Options& o, View k, View v) {
       o.max_threads = static_cast<int>(whole(k, v, kThreadsMax));
     }},
    {"spin_us", [](const Options& o) { return o.spin_us == Options{}.spin_us; },
     [](Options& o, View k, View v) {
       o.spin_us = std::chrono::microseconds(whole(k, v, 1'000'000));
     }},
    {"log_to_driver", [](const Options& o) { return o.log_to_driver; },
     [](Options& o, View k, View v) { o.log_to_driver = truth(k, v); }},
    {"memory_limit_share",
     [](const Options& o) { return o.memory_limit_share == Options{}.memory_limit_share; },
     [](Options& o, View k, View v) { o.memory_limit_share = number(k, v, kShareLimits); }},
};

/// RAY_… variables that are not options of a runtime.
bool is_foreign(std::string_view name) {
  return name.starts_with("RAY_TEST_") || name.starts_with("RAY_BUILD_") ||
         name.starts_with("RAY_BENCH_");
}

std::string upper(std::string_view name) {
  std::string result(name);
  for (char& c : result) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

}  // namespace

void read_arguments(int& argc, char** argv, RuntimeOptions& options) {
  int kept = 0;
  for (int i = 0; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (i == 0 || !argument.starts_with("--ray-")) {
      if (argument == "--" && i > 0) {
        while (i < argc) argv[kept++] = argv[i++];
        break;
      }
      argv[kept++] = argv[i];
      continue;
    }
    const std::size_t equals = argument.find('=');
    const std::string key(argument.substr(0, equals));
    std::string name = key.substr(6);
    for (char& c : name) c = c == '-' ? '_' : c;
    const Setting* found = nullptr;
    for (const Setting& setting : kSettings) {
      if (name == setting.name) found = &setting;
    }
    if (found == nullptr) {
      std::string known;
      for (const Setting& setting : kSettings) {
        std::string flag = setting.name;
        for (char& c : flag) c = c == '_' ? '-' : c;
        known += " --ray-" + flag;
      }
      throw InvalidArgumentError(key + ": no such flag; there are" + known);
    }
    if (equals != std::string_view::npos) {
      found->set(options, key, argument.substr(equals + 1));
    } else if (i + 1 < argc) {
      found->set(options, key, argv[++i]);
    } else {
      throw InvalidArgumentError(key + ": needs a value: " + key + "=…");
    }
  }
  argc = kept;
  argv[argc] = nullptr;
}

void read_environment(RuntimeOptions& options) {
  const RuntimeOptions given = options;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view line = *entry;
    const std::size_t equals = line.find('=');
    if (!line.starts_with("RAY_") || equals == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, equals);
    if (is_foreign(key) || equals + 1 == line.size()) continue;  // Empty is as good as not there.
    const Setting* found = nullptr;
    for (const Setting& setting : kSettings) {
      if (key == "RAY_" + upper(setting.name)) found = &setting;
    }
    if (found == nullptr) continue;  // Another program's, Ray's own among them.
    if (found->is_default(given)) found->set(options, key, line.substr(equals + 1));
  }
}

void check(const RuntimeOptions& options) {
  if (options.num_nodes != 1) {
    throw InvalidArgumentError("RuntimeOptions::num_nodes = " + std::to_string(options.num_nodes) +
                               ": not in this version yet, which has one node; leave it at 1");
  }
  if (!options.address.empty()) {
    throw InvalidArgumentError(
        "RuntimeOptions::address = \"" + options.address +
        "\": not in this version yet, which joins no cluster; leave it empty");
  }
  require_allowed(options.num_cpus, kSlotLimits, "RuntimeOptions::num_cpus");
  make_demand(options.num_cpus, options.num_gpus, 0, options.resources, "RuntimeOptions");
  if (options.max_threads < 0) {
    throw InvalidArgumentError("RuntimeOptions::max_threads = " +
                               std::to_string(options.max_threads) + ": must not be negative");
  }
  if (options.spin_us.count() < 0) {
    throw InvalidArgumentError("RuntimeOptions::spin_us = " +
                               std::to_string(options.spin_us.count()) + ": must not be negative");
  }
  require_allowed(options.memory_limit_share, kShareLimits, "RuntimeOptions::memory_limit_share");
  if (options.task_events &&
      (options.max_task_events == 0 || options.max_task_events > kEventsMax)) {
    throw InvalidArgumentError("RuntimeOptions::max_task_events = " +
                               std::to_string(options.max_task_events) + ": must be from 1 to 1e9");
  }
}

}  // namespace ray::detail
