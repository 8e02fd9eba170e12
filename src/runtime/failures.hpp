// Failures that leave the process, and come back.
#pragma once

#include <string>

#include <ray/error.hpp>

#include "task/failure_codec.hpp"
#include "task/messages.hpp"

namespace ray::detail {

/// What is left of a failure where its exception cannot go.
FailureParts parts_of(const Failure& failure);
/// As what is sent in a value's place.
WireValue failed_value(const Failure& failure);
WireValue failed_value(const std::exception_ptr& error, std::string_view task);
/// An exception like the one that was thrown: of the same type where that is one of ours, of the
/// standard library's, or registered; else a TaskError that says what it was.
FailurePtr failure_from(FailureParts parts);
/// What a call's error says behind the actor's name when ray::kill has ended it.
std::string killed_words(int max_restarts, bool no_restart);

}  // namespace ray::detail
