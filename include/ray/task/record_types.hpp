// The function table: every kind of record that the program can make, known by a hash of its type's
// name. Mentioning remote<F>(a, b) enters its record before main, also where the call never runs;
// so every process that runs the same executable knows the same table.
#pragma once

#include <cstdint>
#include <string_view>
#include <typeinfo>

#include <ray/task/archive.hpp>
#include <ray/task/record.hpp>

namespace ray::detail {

/// The arguments of a task that is made from bytes. Owns: what was not taken.
class Needs {
public:
  virtual ~Needs() = default;
  /// The next argument that was given as a reference, with one of its own. `make` makes a pending
  /// object of its type.
  virtual Object* take(Object* (*make)(std::uint64_t id)) = 0;
};

/// One kind of record, a constant of its type. Constructed before main.
struct RecordType {
  RecordType(const std::type_info& type, std::string_view (*name_of)(),
             Task* (*make_record)(InputArchive&, Needs&)) noexcept;

  const char* mangled;
  std::string_view (*name)();  // The function's, or the actor's class.
  /// A record with its arguments; the caller gets the references that its maker would have had.
  Task* (*make)(InputArchive& arguments, Needs& needs);
  const RecordType* next;  // In the table.
  std::uint64_t id;        // A hash of `mangled`.
};

/// The same in all processes that run the same executable.
std::uint64_t hash_of_type(const std::type_info& type);
/// Null where there is none.
const RecordType* find_record_type(std::uint64_t id);
/// For people; "unknown" if there is none.
std::string_view record_type_name(std::uint64_t id);
/// Why records of this type cannot be sent, though known: two functions have one name. Else empty.
std::string_view why_not_sent(const RecordType& type);
/// The same in all processes that run the same executable.
std::uint64_t record_types_digest();
std::uint64_t record_types_count();

}  // namespace ray::detail
