// Where a task finds a reference or a handle that is made after it.
#pragma once

#include <ray/ray.hpp>

#include "api/probes.hpp"

#include <vector>

namespace probes {

/// Copies are the same one, in all processes. What lies in it is kept alive until it is emptied.
template <class T>
class Mailbox {
public:
  Mailbox() = default;
  explicit Mailbox(ray::Runtime& rt) : box_(rt.actor<Box>()) {}

  void put(const T& what) const {
    ray::get(ray::remote<&Box::put>(box_, std::vector<T>{what}), kDeadline);
  }
  /// What lies in it, as a reference to a vector of it.
  auto look() const { return ray::remote<&Box::look>(box_); }
  T get() const { return ray::get(look()).at(0); }
  void empty() const { ray::get(ray::remote<&Box::put>(box_, std::vector<T>{}), kDeadline); }

  template <class Archive>
  void serialize(Archive& archive) {
    archive(box_);
  }

private:
  struct Box {
    std::vector<T> held;
    void put(std::vector<T> what) { held = std::move(what); }
    std::vector<T> look() const { return held; }
  };
  ray::ActorHandle<Box> box_;
};

}  // namespace probes
