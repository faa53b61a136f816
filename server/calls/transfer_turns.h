// Bounds the memory of the snapshots that are being sent or received: calls take turns.
#ifndef RETNET_SERVER_CALLS_TRANSFER_TURNS_H_
#define RETNET_SERVER_CALLS_TRANSFER_TURNS_H_

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "engine/request.h"
#include "kernels/mutex.h"
#include "kernels/serial_executor.h"

namespace retnet {

// A call waits until the most that it may need fits, and so never waits with memory in its hands.
// Next comes the client that holds least, then the call that came first. A call that needs more
// than there is in all runs alone. Thread-safe. Must outlive every Share.
class TransferTurns {
  using Key = std::pair<std::string, std::string>;  // a principal, and a connection of it

 public:
  // What a call may hold. Gives it back when destroyed.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept { *this = std::move(other); }
    Share& operator=(Share&& other) noexcept;
    ~Share() { Shrink(0); }

    // Gives back all but `bytes`.
    void Shrink(int64_t bytes);

   private:
    friend class TransferTurns;
    Share(TransferTurns* turns, Key client, int64_t bytes)
        : turns_(turns), client_(std::move(client)), bytes_(bytes) {}

    TransferTurns* turns_ = nullptr;
    Key client_;
    int64_t bytes_ = 0;
  };
  using Begin = absl::AnyInvocable<void(Share)>;
  using Ticket = uint64_t;

  explicit TransferTurns(int64_t bytes) : bytes_(bytes) {}

  // Calls `begin` on a thread of its own once it is the turn of the call. `begin` must not block.
  Ticket Wait(const Tenant& client, int64_t bytes, Begin begin);
  // The call does not want its turn any more. No effect once it has come.
  void Withdraw(const Tenant& client, Ticket ticket);

  int64_t used() const;

 private:
  struct Waiter {
    Ticket ticket = 0;
    int64_t bytes = 0;
    Begin begin;
  };
  struct Client {
    int64_t held = 0;
    std::list<Waiter> waiting;
  };

  static Key KeyOf(const Tenant& client) { return {client.principal, client.connection}; }
  void GiveBack(const Key& client, int64_t bytes);
  void Hold(const Key& key, int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Who comes next; end() if nobody waits.
  std::map<Key, Client>::iterator Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BeginNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const int64_t bytes_;
  mutable Mutex mu_;
  int64_t used_ ABSL_GUARDED_BY(mu_) = 0;
  Ticket last_ticket_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<Key, Client> clients_ ABSL_GUARDED_BY(mu_);              // that hold something or wait
  std::map<std::string, int64_t> principals_ ABSL_GUARDED_BY(mu_);  // what each holds
  SerialExecutor worker_;  // last: its tasks use all of the above
};

}  // namespace retnet

#endif  // RETNET_SERVER_CALLS_TRANSFER_TURNS_H_
