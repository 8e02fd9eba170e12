#include "support/catch.hpp"

#include "store/reference_table.hpp"

using ray::detail::ReferenceTable;
using Left = ReferenceTable::Left;

TEST_CASE("the last reference of all holders ends an id", "[node]") {
  ReferenceTable table;
  table.hold(1);
  table.take(7, 1, 2);
  CHECK(table.count(1) == 3);
  CHECK(table.give_back(7, 1) == Left::some);
  CHECK(table.release(1) == Left::some);
  CHECK(table.give_back(7, 1) == Left::none);
  CHECK(table.size() == 0);
  CHECK(table.release(1) == Left::never_had);
}

TEST_CASE("a client cannot give back what others hold", "[node]") {
  ReferenceTable table;
  table.hold(1);
  table.take(7, 1);
  CHECK(table.give_back(8, 1) == Left::never_had);
  CHECK(table.give_back(7, 1, 2) == Left::never_had);
  CHECK(table.count(1) == 2);
}

TEST_CASE("what a client leaves becomes its heir's, each once", "[node]") {
  ReferenceTable table;
  table.take(7, 5, 3);
  table.take(7, 2);
  table.take(8, 5);
  CHECK(table.bequeath(7) == std::vector<std::uint64_t>{2, 5});
  CHECK(table.count(5) == 2);
  CHECK(table.clients_of(5) == std::vector<ray::detail::ClientId>{8});
  CHECK(table.release(2) == Left::none);
  CHECK(table.release(5) == Left::some);
  CHECK(table.bequeath(7).empty());
}
