#include "support/catch.hpp"

#include "runtime/actor_table.hpp"

using namespace ray::detail;

TEST_CASE("a call whose arguments are missing holds back its caller's later ones only", "[node]") {
  ActorTable table;
  ActorEntry& actor = table.add(1, {});
  table.enter(actor, 10, 100, false);
  table.enter(actor, 11, 100, true);
  table.enter(actor, 20, 200, true);
  CHECK(table.first(actor) == 20);
  CHECK(table.held_by(11) == 10);
  table.sent(actor, 20);
  CHECK(table.first(actor) == std::nullopt);
  SECTION("until they come") {
    table.became_ready(10);
    CHECK(table.first(actor) == 10);
    table.sent(actor, 10);
    CHECK(table.first(actor) == 11);
  }
  SECTION("or it is gone") {
    table.leave(10);
    CHECK(table.first(actor) == 11);
  }
  CHECK(table.unsent(actor).size() >= 1);
}

TEST_CASE("a call that is put back stands where it stood", "[node]") {
  ActorTable table;
  ActorEntry& actor = table.add(1, {});
  for (std::uint64_t call = 10; call < 14; ++call) table.enter(actor, call, 100, true);
  table.sent(actor, 10);
  table.sent(actor, 11);
  table.put_back(actor, 11);
  table.put_back(actor, 10);
  CHECK(table.unsent(actor) == std::vector<std::uint64_t>{10, 11, 12, 13});
  CHECK(actor.at_worker == 0);
}

TEST_CASE("a name is one actor's, until it dies", "[node]") {
  ActorTable table;
  ActorSpec spec;
  spec.name = "n";
  ActorEntry& one = table.add(1, spec);
  ActorEntry& two = table.add(2, spec);
  CHECK(table.take_name(one));
  CHECK_FALSE(table.take_name(two));
  table.drop_name(two);
  CHECK(table.find_name("n") == &one);
  table.erase(1);
  CHECK(table.find_name("n") == nullptr);
  CHECK(table.take_name(two));
}
