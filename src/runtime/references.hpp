// The references inside a value on its way out of the process or into it.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <ray/task/archive.hpp>

#include "runtime/client.hpp"

namespace ray::detail {

class References final : public ReferenceCodec {
public:
  /// `aliases` gets what was sent only for this value: to be given back once that is on its way.
  References(Client& client, Client::Aliases& aliases) : client_(client), aliases_(aliases) {}

  std::uint64_t write(Object* object) override;
  Object* read(std::uint64_t word, Object* (*make)(std::uint64_t id)) override;
  void write_actor(OutputArchive& out, ActorCore* actor) override;
  ActorCore* read_actor(InputArchive& in, const ActorClass* actor_class) override;

  /// The ids that were written, each once.
  std::vector<std::uint64_t> take_contains();

private:
  void contain(std::uint64_t id);

  Client& client_;
  std::vector<std::uint64_t> contains_;  // Some more than once.
  Client::Aliases& aliases_;
};

}  // namespace ray::detail
