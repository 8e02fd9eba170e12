// Messages, failures and stored objects as bytes: as docs/wire.md shows them, back again, and what
// is refused.
#include "support/catch.hpp"

#include <ray/task/fields.hpp>

#include "support/allocations.hpp"
#include "task/message_examples.hpp"
#include "task/stored_layout.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <variant>
#include <vector>

namespace {

using namespace ray::detail;
using Catch::Matchers::ContainsSubstring;
using ray::SerializationError;

template <class M>
Bytes encoded(const M& message) {
  Bytes out;
  encode(message, out);
  return out;
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<unsigned>(byte) & 15];
    text += ' ';
  }
  return text;
}

/// Bytes as somebody else would write them.
struct Writer {
  Bytes bytes;

  explicit Writer(int type) { byte(type); }
  Writer& byte(int value) {
    bytes.push_back(static_cast<std::byte>(value));
    return *this;
  }
  Writer& varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) byte(static_cast<int>(value & 0x7f) | 0x80);
    return byte(static_cast<int>(value));
  }
  Writer& id(std::uint64_t value) {
    for (int i = 0; i < 8; ++i) byte(static_cast<int>(value >> 8 * i & 0xff));
    return *this;
  }
  Writer& ids(std::size_t count) {
    varint(count);
    bytes.resize(bytes.size() + 8 * count, std::byte{1});
    return *this;
  }
  Writer& text(std::size_t size) {
    varint(size);
    bytes.resize(bytes.size() + size, std::byte{'x'});
    return *this;
  }
};

/// The number of a message's type.
template <class M>
int type_of() {
  return static_cast<int>(Message(M{}).index()) + 1;
}

// --- random messages: every field is filled by its type, whatever the codec says of it ---

struct Random {
  std::mt19937_64 engine;

  std::uint64_t below(std::uint64_t end) { return engine() % end; }
  bool coin() { return below(2) == 0; }
  /// Of any size, small ones most often.
  std::uint64_t number() { return coin() ? below(4) : engine() >> below(64); }
};

template <class T>
void fill(Random& random, T& value);

void fill(Random& random, Bytes& bytes) {
  bytes.resize(random.coin() ? 0 : random.below(40));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
}
void fill(Random& random, std::string& text) {
  text.resize(random.coin() ? 0 : random.below(40));
  for (char& c : text) c = static_cast<char>(random.below(256));
}
template <class T>
void fill(Random& random, std::vector<T>& list) {
  list.resize(random.below(20) == 0 ? random.below(150) : random.below(4));
  for (T& element : list) fill(random, element);
}
template <class V>
void fill(Random& random, std::map<std::string, V>& map) {
  for (auto left = random.below(20) == 0 ? random.below(150) : random.below(4); left > 0; --left) {
    std::string name;
    fill(random, name);
    fill(random, map[name]);
  }
}
template <class T>
void fill(Random& random, std::optional<T>& value) {
  if (random.coin()) fill(random, value.emplace());
}
template <class T>
void fill(Random& random, ray::detail::Boxed<T>& value) {
  if (!random.coin()) return;
  T held;
  fill(random, held);
  value = std::move(held);
}
template <class T>
void fill(Random& random, ray::detail::Shared<T>& value) {
  fill(random, value.edit());
}
template <class A, class B>
void fill(Random& random, std::pair<A, B>& pair) {
  fill(random, pair.first);
  fill(random, pair.second);
}

template <class T>
void fill(Random& random, T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    value = random.coin();
  } else if constexpr (std::is_same_v<T, WireValue::Kind>) {
    value = static_cast<T>(random.below(4));
  } else if constexpr (std::is_same_v<T, TaskKind>) {
    value = static_cast<T>(random.below(3));
  } else if constexpr (std::is_integral_v<T>) {
    const auto wide = static_cast<std::int64_t>(random.number());
    value = static_cast<T>(random.coin() ? wide : -wide);
  } else if constexpr (!std::is_empty_v<T>) {
    static_assert(field_count<T>() != 0);
    with_fields(value, [&](auto&... fields) { (fill(random, fields), ...); });
  }
}

template <std::size_t I = 0>
Message random_message(Random& random, std::size_t type) {
  if constexpr (I < std::variant_size_v<Message>) {
    if (I != type) return random_message<I + 1>(random, type);
    Message message(std::in_place_index<I>);
    fill(random, std::get<I>(message));
    return message;
  } else {
    return {};
  }
}

// --- the bytes that docs/wire.md shows: <!-- bytes: name -->, and a fence with them before each |
// ---

std::map<std::string, std::string> documented() {
  std::ifstream file(std::string(RAY_SOURCE_DIR) + "/docs/wire.md");
  std::map<std::string, std::string> found;
  std::string name;
  for (std::string line; std::getline(file, line);) {
    static const std::string mark = "<!-- bytes: ";
    if (line.starts_with(mark)) {
      name = line.substr(mark.size(), line.rfind(" -->") - mark.size());
      CHECK(found.count(name) == 0);
      found[name];
    } else if (const auto end = line.find('|'); !name.empty() && end != std::string::npos) {
      line.resize(line.find_last_not_of(' ', end - 1) + 1);
      found[name] += line + ' ';
    } else if (line == "```" && !name.empty() && !found[name].empty()) {
      name.clear();
    }
  }
  return found;
}

Bytes stored_example() {
  std::vector<std::uint64_t> sizes;
  std::vector<std::span<const std::byte>> blocks;
  for (const Bytes& block : examples::kBlocks) {
    sizes.push_back(block.size());
    blocks.emplace_back(block);
  }
  Bytes object(stored_size(examples::kArchive.size(), sizes), std::byte{0xee});
  write_stored(object.data(), examples::kArchive, blocks);
  return object;
}

std::string refusal(std::span<const std::byte> bytes) {
  try {
    decode(bytes);
  } catch (const SerializationError& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("docs/wire.md shows the bytes of every message") {
  auto shown = documented();
  const auto compare = [&](const std::string& name, const Bytes& bytes) {
    INFO(name);
    CHECK(shown[name] == hex(bytes));
    shown.erase(name);
  };
  std::array<bool, std::variant_size_v<Message>> seen{};
  for (const auto& [name, message] : examples::all()) {
    compare(name, encoded(message));
    CHECK(decode(encoded(message)) == message);
    seen[message.index()] = true;
  }
  CHECK(std::ranges::count(seen, false) == 0);
  compare("failure", encode_failure(examples::failure()));
  compare("stored object", stored_example());
  CHECK(shown.empty());
}

TEST_CASE("a message comes back as it was sent") {
  Random random{std::mt19937_64(1)};
  for (std::size_t type = 0; type < std::variant_size_v<Message>; ++type) {
    for (int i = 0; i < 500; ++i) {
      const Message message = random_message(random, type);
      const Bytes bytes = encoded(message);
      REQUIRE(decode(bytes) == message);
      REQUIRE(std::visit([](const auto& one) { return encoded(one); }, message) == bytes);
    }
  }
}

TEST_CASE("no beginning of a message is a message") {
  Random random{std::mt19937_64(2)};
  std::vector<Message> messages;
  for (const auto& example : examples::all()) messages.push_back(example.second);
  for (std::size_t type = 0; type < std::variant_size_v<Message>; ++type) {
    for (int i = 0; i < 5; ++i) messages.push_back(random_message(random, type));
  }
  for (const Message& message : messages) {
    const Bytes whole = encoded(message);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const Bytes begin(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      REQUIRE_THROWS_AS(decode(begin), SerializationError);
    }
    Bytes longer = whole;
    longer.push_back(std::byte{0});
    REQUIRE_THROWS_AS(decode(longer), SerializationError);
  }
}

TEST_CASE("a message with errors is refused, or is what it is written as") {
  Random random{std::mt19937_64(3)};
  int accepted = 0;
  for (const auto& example : examples::all()) {
    const Bytes good = encoded(example.second);
    for (int i = 0; i < 500; ++i) {
      Bytes bad = good;
      for (auto changes = 1 + random.below(3); changes > 0; --changes) {
        bad[random.below(bad.size())] = static_cast<std::byte>(random.below(256));
      }
      try {
        const Message message = decode(bad);
        ++accepted;
        REQUIRE(encoded(message) == bad);
      } catch (const SerializationError&) {
      }
    }
  }
  CHECK(accepted > 1000);
}

TEST_CASE("there is one way to write a message") {
  const Writer want = Writer(type_of<message::Want>()).varint(0);
  CHECK(refusal(want.bytes) == "accepted");
  // A size written longer than it is, a number of more than 64 bits, and one that is too large.
  CHECK_THAT(refusal(Writer(type_of<message::Want>()).byte(0x80).byte(0).bytes),
             ContainsSubstring("longer than it is"));
  Writer long_number(type_of<message::Reserve>());
  for (int i = 0; i < 9; ++i) long_number.byte(0xff);
  CHECK_THAT(refusal(Writer(long_number).byte(2).varint(0).bytes),
             ContainsSubstring("more than 64 bits"));
  CHECK(refusal(Writer(long_number).byte(1).varint(0).bytes) == "accepted");
  CHECK_THAT(refusal(Writer(type_of<message::SegmentMapped>()).varint(1ULL << 32).bytes),
             ContainsSubstring("4294967296, at most 4294967295"));
  CHECK_THAT(
      refusal(Writer(type_of<message::References>()).varint(1).id(1).varint(1ULL << 32).bytes),
      ContainsSubstring("32 bits"));
  CHECK_THAT(refusal(Writer(type_of<message::Suspended>()).id(1).byte(2).bytes),
             ContainsSubstring("Suspended, field suspended, at 9 of 10"));
  // Flags: one that nobody knows, and a field that is there with its default value.
  const int submit = type_of<message::Submit>();
  CHECK(refusal(Writer(submit).id(1).id(2).varint(0).bytes) == "accepted");
  CHECK_THAT(refusal(Writer(submit).id(1).id(2).varint(1 << 15).bytes), ContainsSubstring("flags"));
  CHECK_THAT(refusal(Writer(submit).id(1).id(2).varint(1).varint(0).bytes),
             ContainsSubstring("default value"));
  CHECK_THAT(refusal(Writer(submit).id(1).id(2).varint(4).byte(0).bytes),
             ContainsSubstring("default value"));
  CHECK_THAT(refusal(Writer(submit).id(1).id(2).varint(4).byte(32).bytes),
             ContainsSubstring("arguments.kind"));
  CHECK_THAT(refusal(Writer(submit).id(1).id(2).varint(1 << 7).byte(3).bytes),
             ContainsSubstring("Submit, field kind, at 19 of 20"));
  // Names in a map: ascending, each once.
  const auto demand = [&] { return Writer(submit).id(1).id(2).varint(1 << 10).varint(2); };
  CHECK(refusal(demand().text(1).varint(1).text(2).varint(0).bytes) == "accepted");
  CHECK_THAT(refusal(demand().text(2).varint(1).text(1).varint(0).bytes),
             ContainsSubstring("ascending"));
  CHECK_THAT(refusal(demand().text(1).varint(1).text(1).varint(0).bytes),
             ContainsSubstring("ascending"));
  // What is no message at all.
  CHECK_THAT(refusal({}), ContainsSubstring("without bytes"));
  CHECK_THAT(refusal(Writer(0).bytes), ContainsSubstring("type 0"));
  CHECK_THAT(refusal(Writer(37).bytes), ContainsSubstring("type 37"));
  CHECK_THAT(refusal(Writer(type_of<message::Exit>()).byte(0).bytes),
             ContainsSubstring("left over"));
}

TEST_CASE("long lists are filled up with zeros") {
  message::Done done;
  done.task = examples::kTask;
  done.values.resize(kShortList);
  CHECK(encoded(done).size() == 11 + kShortList);
  done.values.resize(kShortList + 1);
  Bytes bytes = encoded(done);
  CHECK(bytes.size() == 11 + kEntryBytes * (kShortList + 1));
  CHECK(decode(bytes) == Message(done));
  bytes[bytes.size() - 1] = std::byte{1};
  CHECK_THAT(refusal(bytes), ContainsSubstring("zeros"));
}

TEST_CASE("small tasks are small") {
  message::Submit submit{examples::small_task()};
  CHECK(encoded(submit).size() <= 96);
  CHECK(encoded(message::Run{submit.task, 0, false, {}, {}, false}).size() <= 96);
  message::Done done{examples::kTask, 0,  {examples::inline_value(examples::int_bytes())},
                     false,           {}, false};
  CHECK(encoded(done).size() <= 48);
}

// --- limits ---

namespace {

/// `make(n)` makes a message with n of something, of which there may be `most`; `write(n)` is the
/// same by hand, if it can be written short of a peer that knows the limit.
template <class Make, class Write>
void check_limit(std::size_t most, const Make& make, const Write& write) {
  for (const std::size_t allowed : {most - 1, most}) {
    const auto message = make(allowed);
    const Bytes bytes = encoded(message);
    CHECK(decode(bytes) == Message(message));
    CHECK(write(allowed).bytes == bytes);
  }
  Bytes out(3, std::byte{9});
  CHECK_THROWS_AS(encode(make(most + 1), out), SerializationError);
  CHECK(out == Bytes(3, std::byte{9}));
  CHECK_THROWS_AS(decode(write(most + 1).bytes), SerializationError);
}

std::string name_of(std::size_t i) {
  std::string name(40, 'n');
  for (std::size_t at = name.size(); i > 0; i /= 10) name[--at] = static_cast<char>('0' + i % 10);
  std::ranges::replace(name, 'n', '0');
  return name;
}

Writer written_names(Writer writer, std::size_t count) {
  writer.varint(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = name_of(i);
    writer.varint(name.size());
    for (const char c : name) writer.byte(c);
    writer.varint(2);
  }
  return writer;
}

template <class Map>
Map made_names(std::size_t count) {
  Map map;
  for (std::size_t i = 0; i < count; ++i) map[name_of(i)] = 1;
  return map;
}

Writer plain_submit(unsigned flag) {
  return Writer(type_of<message::Submit>()).id(0).id(0).varint(std::uint64_t{1} << flag);
}

}  // namespace

TEST_CASE("a message has at most 16 MiB") {
  check_limit(
      kMessageMax - 13,
      [](std::size_t size) {
        return message::ActorEnded{1, Bytes(size, std::byte{'x'})};
      },
      [](std::size_t size) { return Writer(type_of<message::ActorEnded>()).id(1).text(size); });
}

TEST_CASE("a message has at most 65,536 ids in its lists") {
  check_limit(
      kIdsMax,
      [](std::size_t ids) {
        return message::Want{std::vector<std::uint64_t>(ids, 0x0101'0101'0101'0101)};
      },
      [](std::size_t ids) { return Writer(type_of<message::Want>()).ids(ids); });
  check_limit(
      kIdsMax,
      [](std::size_t ids) {
        message::References references;
        references.changes.resize(ids, {1, 1});
        return references;
      },
      [](std::size_t ids) {
        Writer writer(type_of<message::References>());
        writer.varint(ids);
        for (std::size_t i = 0; i < ids; ++i) writer.id(1).varint(2);
        return writer;
      });
  // All lists together: two values that contain objects.
  check_limit(
      kIdsMax,
      [](std::size_t ids) {
        message::Done done;
        done.values.resize(2);
        done.values[0].contains.assign(60'000, 0x0101'0101'0101'0101);
        done.values[1].contains.assign(ids - 60'000, 0x0101'0101'0101'0101);
        return done;
      },
      [](std::size_t ids) {
        Writer writer(type_of<message::Done>());
        return writer.id(0).varint(2).varint(2).byte(16).ids(60'000).byte(16).ids(ids - 60'000);
      });
}

TEST_CASE("a task has at most 10,000 needs") {
  check_limit(
      kNeedsMax,
      [](std::size_t needs) {
        message::Submit submit;
        submit.task.edit().needs.assign(needs, 0x0101'0101'0101'0101);
        return submit;
      },
      [](std::size_t needs) { return plain_submit(4).ids(needs); });
}

TEST_CASE("a task has at most 65,536 values") {
  check_limit(
      kValuesMax,
      [](std::size_t values) {
        message::Done done;
        done.values.resize(values);
        return done;
      },
      [](std::size_t values) {
        Writer writer(type_of<message::Done>());
        writer.id(0).varint(2).varint(values);
        writer.bytes.resize(writer.bytes.size() + kEntryBytes * values);
        return writer;
      });
}

TEST_CASE("a name has at most 256 bytes") {
  const std::string letters(kNameMax + 1, 'x');
  check_limit(
      kNameMax,
      [&](std::size_t size) {
        return message::FindActor{6, letters.substr(0, size)};
      },
      [](std::size_t size) { return Writer(type_of<message::FindActor>()).varint(6).text(size); });
  check_limit(
      kNameMax,
      [&](std::size_t size) {
        return message::Ask{6, letters.substr(0, size)};
      },
      [](std::size_t size) { return Writer(type_of<message::Ask>()).varint(6).text(size); });
  check_limit(
      kNameMax,
      [&](std::size_t size) {
        message::Submit submit;
        submit.task.edit().name = letters.substr(0, size);
        return submit;
      },
      [](std::size_t size) { return plain_submit(3).text(size); });
  check_limit(
      kNameMax,
      [&](std::size_t size) {
        message::Submit submit;
        submit.task.edit().demand.others[letters.substr(0, size)] = 1;
        return submit;
      },
      [](std::size_t size) { return plain_submit(10).varint(1).text(size).varint(2); });
  const auto found = [] { return Writer(type_of<message::ActorFound>()).varint(0).id(0).id(0); };
  check_limit(
      kNameMax,
      [&](std::size_t size) {
        message::ActorFound message;
        message.spec.edit().name = letters.substr(0, size);
        return message;
      },
      [&](std::size_t size) { return found().varint(2).text(size); });
  check_limit(
      kNameMax,
      [&](std::size_t size) {
        message::ActorFound message;
        message.spec.edit().concurrency_groups[letters.substr(0, size)] = 1;
        return message;
      },
      [&](std::size_t size) { return found().varint(1 << 9).varint(1).text(size).varint(2); });
}

TEST_CASE("other texts have at most 64 KiB") {
  const std::string letters(kWireTextMax + 1, 'x');
  check_limit(
      kWireTextMax,
      [&](std::size_t size) {
        return message::Deadlock{1, letters.substr(0, size)};
      },
      [](std::size_t size) { return Writer(type_of<message::Deadlock>()).id(1).text(size); });
  check_limit(
      kWireTextMax,
      [&](std::size_t size) {
        message::Submit submit;
        submit.task.edit().site = letters.substr(0, size);
        return submit;
      },
      [](std::size_t size) { return plain_submit(13).text(size); });
  check_limit(
      kWireTextMax,
      [&](std::size_t size) {
        message::ActorFound found;
        found.spec.edit().class_name = letters.substr(0, size);
        return found;
      },
      [](std::size_t size) {
        Writer writer(type_of<message::ActorFound>());
        return writer.varint(0).id(0).id(0).varint(1).text(size);
      });
}

TEST_CASE("a task asks for at most 1,024 resources, an actor has at most 1,024 groups") {
  check_limit(
      kDemandEntriesMax,
      [](std::size_t entries) {
        message::Submit submit;
        submit.task.edit().demand.others = made_names<std::map<std::string, std::int64_t>>(entries);
        return submit;
      },
      [](std::size_t entries) { return written_names(plain_submit(10), entries); });
  check_limit(
      kGroupsMax,
      [](std::size_t entries) {
        message::ActorFound found;
        found.spec.edit().concurrency_groups = made_names<std::map<std::string, std::int32_t>>(entries);
        return found;
      },
      [](std::size_t entries) {
        Writer writer(type_of<message::ActorFound>());
        return written_names(writer.varint(0).id(0).id(0).varint(1 << 9), entries);
      });
}

// --- memory ---

TEST_CASE("writing a message allocates nothing where there is room") {
  Bytes out;
  out.reserve(std::size_t{1} << 20);
  for (const auto& example : examples::all()) {
    const support::Allocations allocations;
    encode(example.second, out);
    CHECK(allocations.bytes() == 0);
  }
}

TEST_CASE("reading allocates at most four times the bytes and 64 KiB") {
  const auto check = [](const Bytes& bytes) {
    const support::Allocations allocations;
    try {
      const Message message = decode(bytes);
    } catch (const SerializationError&) {
    }
    const std::uint64_t taken = allocations.bytes();
    CHECK(taken <= 4 * bytes.size() + (std::size_t{64} << 10));
    return taken;
  };
  // Small entries that become large ones: the most, the most short ones, and a number that lies.
  message::Run run;
  for (const std::size_t size : {kShortList, kShortList + 1, std::size_t{10'000}, kValuesMax}) {
    run.values.resize(size);
    CHECK(check(encoded(run)) >= size * sizeof(WireValue));
  }
  run.values.resize(kShortList);
  run.task.edit().creates.emplace();
  for (std::size_t i = 0; i < 1024; ++i) {
    run.task.edit().demand.others[std::to_string(i)] = 1;
    run.task.edit().creates->concurrency_groups[std::to_string(i)] = 1;
  }
  check(encoded(run));
  run.values.assign(kValuesMax, examples::inline_value(Bytes(29, std::byte{1})));
  check(encoded(run));
  const Writer lies = Writer(type_of<message::Done>()).id(1).varint(2).varint(kValuesMax);
  CHECK(check(lies.bytes) < 1024);
  CHECK(check(Writer(type_of<message::Want>()).varint(kIdsMax).bytes) < 1024);
  CHECK(check(Writer(type_of<message::ActorEnded>()).id(1).varint(kMessageMax).bytes) < 1024);
  Random random{std::mt19937_64(4)};
  for (std::size_t i = 0; i < 2000; ++i) {
    check(encoded(random_message(random, i % std::variant_size_v<Message>)));
  }
}
