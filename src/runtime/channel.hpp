// How a client's messages get to the node, and the node's to it.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include <ray/runtime/engine.hpp>

#include "task/messages.hpp"

namespace ray::detail {

class Parker;

class Channel {
public:
  /// Whom the node's messages are given to.
  class Receiver {
  public:
    virtual ~Receiver() = default;
    virtual void receive(Message message) = 0;
  };

  virtual ~Channel() = default;
  /// Nothing more is sent. The driver's: all that is pending fails, and no worker is left.
  virtual void shut_down() = 0;
  /// In the order of the calls. Threads: any.
  virtual void send(Message message) = 0;
  /// Hands on what has come; false if nothing had. Threads: any; where one does it already, another
  /// returns at once.
  virtual bool poll() = 0;
  /// Until something may have come, the parker is unparked, or the deadline (null: none).
  virtual void sleep(Parker& parker, const Clock::time_point* deadline) = 0;
  /// A thread begins, or ends, to call poll() again and again: meanwhile nobody need be woken.
  virtual void attend(bool begins) = 0;
  /// The bytes of an object in the store, as long as it is pinned; `memory` keeps them mapped even
  /// longer than this. Throws Error.
  virtual std::span<const std::byte> view(const Place& place, std::shared_ptr<void>& memory) = 0;
  /// Room that was reserved, to be written.
  virtual std::span<std::byte> writable(const Place& place) = 0;
};

}  // namespace ray::detail
