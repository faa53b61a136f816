// What a store makes of a peer that is not Redis.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/snapshots/open_snapshot_store.h"

namespace retnet {
namespace {

using ::testing::HasSubstr;

// Something that is not Redis: answers all commands that come together with the same bytes.
class Impostor {
 public:
  explicit Impostor(std::string reply) : reply_(std::move(reply)) {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~Impostor() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::unique_ptr<SnapshotStore> Open(int64_t max_snapshot_bytes) const {
    return OpenSnapshotStore(absl::StrCat("redis://127.0.0.1:", port_), 0, max_snapshot_bytes)
        .value();
  }

 private:
  void Serve() {
    for (int link; (link = accept(listener_, nullptr, nullptr)) >= 0; close(link)) {
      char command[4096];
      while (recv(link, command, sizeof(command), 0) > 0) {
        for (size_t sent = 0; sent < reply_.size();) {
          const ssize_t count =
              send(link, reply_.data() + sent, reply_.size() - sent, MSG_NOSIGNAL);
          if (count <= 0) break;
          sent += count;
        }
      }
    }
  }

  const std::string reply_;
  int listener_;
  int port_ = 0;
  std::thread thread_;
};

// All calls of a store.
std::vector<absl::Status> AllCalls(SnapshotStore* store) {
  const SessionKey key = {"ann", "1"};
  return {store->Put(key, "bytes", absl::InfiniteFuture(), {}), store->Get(key).status(),
          store->Stamp(key).status(), store->List("ann", "", 10).status(),
          store->Heads("ann", {"1"}, 10).status()};
}

TEST(ImpostorOfRedis, IsToldByItsRepliesWhateverTheyClaim) {
  const std::string deep = "*2\r\n*2\r\n*2\r\n*2\r\n*2\r\n*2\r\n*2\r\n*2\r\n*2\r\n*2\r\n:1\r\n";
  for (const std::string& reply :
       {std::string("*2147483647\r\n"), std::string("*1048577\r\n"), std::string(":1\r\n:1\r\n"),
        std::string("*-2\r\n"), std::string("HTTP/1.1 400 Bad Request\r\n\r\n"), deep}) {
    const Impostor impostor(reply);
    const auto store = impostor.Open(1 << 20);
    for (const absl::Status& status : AllCalls(store.get())) {
      EXPECT_TRUE(absl::IsInternal(status)) << reply << ": " << status;
    }
  }
}

TEST(ImpostorOfRedis, IsNotBelievedWithMoreBytesThanASnapshotHas) {
  constexpr int64_t kOthers = 64 << 20;
  constexpr int64_t kSnapshot = 1 << 20;
  const auto get = [](int64_t bytes) {
    std::string reply = absl::StrCat("$", bytes, "\r\n");
    reply += std::string(bytes, 'x') + "\r\n";
    const Impostor impostor(std::move(reply));
    return impostor.Open(kSnapshot)->Get({"ann", "1"});
  };
  EXPECT_EQ(get(kSnapshot)->size(), kSnapshot);
  const absl::Status status = get(kSnapshot + kOthers).status();
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("more bytes than the largest snapshot"));
}

}  // namespace
}  // namespace retnet
