#include "engine/snapshots/redis_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/snapshots/open_snapshot_store.h"
#include "tests/engine/sessions/put_snapshot.h"
#include "tests/engine/snapshots/redis_server.h"

namespace retnet {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class RedisStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!RedisServer::Installed()) {
      GTEST_SKIP() << "there is no /usr/bin/redis-server, which scripts/test.sh installs; nothing "
                      "else shows what Redis does";
    }
    Start({});
  }
  void Start(std::vector<std::string> options) {
    server_ = std::make_unique<RedisServer>(std::move(options));
    server_->Start();
    store_ = Open();
  }
  std::unique_ptr<SnapshotStore> Open(int64_t max_bytes = 0) {
    return OpenSnapshotStore(server_->url(), max_bytes).value();
  }
  absl::Status Put(const SessionKey& key, const std::string& bytes,
                   absl::Time expires = absl::InfiniteFuture()) {
    return PutSnapshot(store_.get(), key, bytes, expires);
  }
  std::string Get(const SessionKey& key) {
    const auto bytes = store_->Get(key);
    return bytes.ok() ? *bytes : std::string(absl::StatusCodeToString(bytes.status().code()));
  }
  // Until Redis is there again, in whatever state.
  void AwaitReachable() {
    while (absl::IsUnavailable(store_->Get({"", ""}).status()))
      absl::SleepFor(absl::Milliseconds(5));
  }

  std::unique_ptr<RedisServer> server_;
  std::unique_ptr<SnapshotStore> store_;
};

TEST_F(RedisStoreTest, WhatOneReplicaPutsAnotherGets) {
  const auto other = Open();
  const std::string bytes("\0\r\n\xFF snapshot", 13);
  ASSERT_TRUE(Put({"ann", "1"}, "old").ok());
  ASSERT_TRUE(Put({"ann", "1"}, bytes).ok());
  EXPECT_EQ(other->Get({"ann", "1"}).value(), bytes);
  ASSERT_TRUE(PutSnapshot(other.get(), {"ann", "1"}, "").ok());
  EXPECT_EQ(Get({"ann", "1"}), "");
  EXPECT_TRUE(other->Delete({"ann", "1"}).ok());
  EXPECT_TRUE(other->Delete({"ann", "1"}).ok());
  EXPECT_EQ(Get({"ann", "1"}), "NOT_FOUND");
}

TEST_F(RedisStoreTest, NoNameMeetsAnotherAndListsAreOfOneOwner) {
  const std::vector<std::string> names = {
      "", "*", "a", "a:b", "b:a", "[a-z]", "a*", "?", "%", " ", std::string("a\0b", 3)};
  for (const std::string& owner : names) {
    for (const std::string& id : names) ASSERT_TRUE(Put({owner, id}, owner + "|" + id).ok());
  }
  for (const std::string& owner : names) {
    for (const std::string& id : names) EXPECT_EQ(Get({owner, id}), owner + "|" + id);
    std::vector<std::string> sorted = names;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(store_->List(owner, "", 5000).value(), sorted);
  }
  EXPECT_THAT(store_->List("ann", "", 5000).value(), IsEmpty());
}

TEST_F(RedisStoreTest, ReplacesOnlyWhatItIsToldOf) {
  const SessionKey key = {"ann", "1"};
  const auto put = [&](const std::string& bytes, const std::vector<SnapshotStamp>& over) {
    return store_->Put(key, bytes, absl::InfiniteFuture(), over);
  };
  for (const int64_t max_bytes : {0, 1000}) {
    store_ = Open(max_bytes);
    const auto other = Open(max_bytes);
    EXPECT_EQ(store_->Stamp(key).value(), "");
    ASSERT_TRUE(put("the first one", {"whatever"}).ok()) << "nothing is there";
    EXPECT_EQ(other->Stamp(key).value(), StampOf("the first one"));
    EXPECT_TRUE(put("the first one", {}).ok()) << "as after an answer that was lost";
    ASSERT_TRUE(PutSnapshot(other.get(), key, "the second one").ok());
    EXPECT_TRUE(absl::IsAborted(put("the third one", {StampOf("the first one")})));
    EXPECT_EQ(Get(key), "the second one");
    EXPECT_TRUE(put("the third one", {StampOf("the first one"), StampOf("the second one")}).ok());
    EXPECT_EQ(Get(key), "the third one");
    EXPECT_TRUE(Put({"ann", "2"}, "x").ok());
    EXPECT_TRUE(store_->Delete(key).ok());
  }
}

// Of many at once that follow the same one, one is stored.
TEST_F(RedisStoreTest, LetsOneOfManyFollow) {
  const SessionKey key = {"ann", "1"};
  ASSERT_TRUE(Put(key, "the first one").ok());
  constexpr int kThreads = 8;
  std::vector<absl::Status> statuses(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      statuses[i] = Open()->Put(key, absl::StrCat("one of many: ", i), absl::InfiniteFuture(),
                                {StampOf("the first one")});
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::count_if(statuses.begin(), statuses.end(), absl::IsAborted), kThreads - 1);
  EXPECT_EQ(std::count(statuses.begin(), statuses.end(), absl::OkStatus()), 1);
  for (int i = 0; i < kThreads; ++i) {
    if (!statuses[i].ok()) continue;
    EXPECT_EQ(Get(key), absl::StrCat("one of many: ", i));
  }
}

TEST_F(RedisStoreTest, ListsPagesAndGivesHeads) {
  for (const char* id : {"d", "b", "c", "a"}) ASSERT_TRUE(Put({"ann", id}, "bytes of many").ok());
  EXPECT_THAT(store_->List("ann", "b", 2).value(), ElementsAre("b", "c"));
  EXPECT_THAT(store_->List("ann", "d", 2).value(), ElementsAre("d"));
  EXPECT_THAT(store_->Heads("ann", {"a", "none", "b"}, 5).value(),
              ElementsAre("bytes", "", "bytes"));
  EXPECT_THAT(store_->Heads("bob", {"a"}, 5).value(), ElementsAre(""));
}

TEST_F(RedisStoreTest, ListsMoreThanOnePageHolds) {
  for (int i = 0; i < 2500; ++i) {
    ASSERT_TRUE(Put({i % 2 == 0 ? "ann" : "bob", absl::StrCat(i)}, "x").ok());
  }
  EXPECT_EQ(store_->List("ann", "", 5000).value().size(), 1250);
}

TEST_F(RedisStoreTest, WhatHasExpiredIsGone) {
  for (const int64_t max_bytes : {0, 1000}) {
    store_ = Open(max_bytes);
    ASSERT_TRUE(Put({"ann", "1"}, "x", absl::Now() + absl::Milliseconds(30)).ok());
    ASSERT_TRUE(Put({"ann", "2"}, "y", absl::Now() + absl::Hours(1)).ok());
    ASSERT_TRUE(Put({"ann", "3"}, "z").ok());
    ASSERT_TRUE(Put({"ann", "3"}, "z", absl::Now() - absl::Hours(1)).ok());
    ASSERT_TRUE(Put({"ann", "4"}, "z", absl::Now() + absl::Hours(1e9)).ok());
    absl::SleepFor(absl::Milliseconds(60));
    EXPECT_EQ(Get({"ann", "1"}), "NOT_FOUND");
    EXPECT_THAT(store_->List("ann", "", 5000).value(), ElementsAre("2", "4"));
  }
}

TEST_F(RedisStoreTest, GoesOnWhenRedisWasStoppedAndStartedAgain) {
  for (const bool killed : {false, true}) {
    ASSERT_TRUE(Put({"ann", "1"}, "kept").ok());
    killed ? server_->Kill() : server_->Stop();
    EXPECT_EQ(Get({"ann", "1"}), "UNAVAILABLE");
    EXPECT_TRUE(absl::IsUnavailable(Put({"ann", "2"}, "lost")));
    EXPECT_TRUE(absl::IsUnavailable(store_->Delete({"ann", "1"})));
    EXPECT_TRUE(absl::IsUnavailable(store_->List("ann", "", 5000).status()));
    server_->Start();
    AwaitReachable();
    EXPECT_EQ(Get({"ann", "1"}), "kept");
    EXPECT_TRUE(Put({"ann", "2"}, "new").ok());
    EXPECT_EQ(Get({"ann", "2"}), "new");
    EXPECT_TRUE(store_->Delete({"ann", "2"}).ok());
  }
}

// Its old connection ends without a call that could notice.
TEST_F(RedisStoreTest, ARestartBetweenTwoCallsIsNotSeen) {
  ASSERT_TRUE(Put({"ann", "1"}, "kept").ok());
  server_->Stop();
  server_->Start();
  EXPECT_EQ(Get({"ann", "1"}), "kept");
  server_->Stop();
  server_->Start();
  EXPECT_TRUE(Put({"ann", "1"}, std::string(1 << 20, 'x')).ok());
}

TEST_F(RedisStoreTest, ARedisThatDoesNotAnswerIsGivenUpAndItsLateAnswersAreNotMistaken) {
  RedisOptions options = ParseRedisUrl(server_->url()).value();
  options.stall_timeout = absl::Milliseconds(100);
  store_ = std::make_unique<RedisStore>(options);
  ASSERT_TRUE(Put({"ann", "1"}, "one").ok());
  ASSERT_TRUE(Put({"ann", "2"}, "two").ok());
  server_->Freeze();
  EXPECT_EQ(Get({"ann", "1"}), "UNAVAILABLE");
  EXPECT_TRUE(absl::IsUnavailable(Put({"ann", "3"}, std::string(32 << 20, 'x'))));
  server_->Thaw();
  AwaitReachable();
  EXPECT_EQ(Get({"ann", "2"}), "two");
  EXPECT_EQ(Get({"ann", "1"}), "one");
}

TEST_F(RedisStoreTest, NobodyThereIsUnavailableAndItSaysWhere) {
  server_->Stop();
  const absl::Status status = store_->Put({"ann", "1"}, "x", absl::InfiniteFuture(), {});
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(absl::StrCat("127.0.0.1 port ", server_->port(), ": Connection refused")));
}

TEST_F(RedisStoreTest, TheLeastRecentlyUsedMakeRoomForAllReplicas) {
  const std::string bytes(100, 'x');
  store_ = Open(/*max_bytes=*/300);
  const auto other = Open(/*max_bytes=*/300);
  for (const char* id : {"1", "2", "3"}) ASSERT_TRUE(Put({"ann", id}, bytes).ok());
  EXPECT_TRUE(other->Get({"ann", "1"}).ok());
  ASSERT_TRUE(PutSnapshot(other.get(), {"bob", "4"}, bytes).ok());
  EXPECT_THAT(store_->List("ann", "", 5000).value(), ElementsAre("1", "3"));
  ASSERT_TRUE(Put({"ann", "3"}, bytes + bytes).ok());
  EXPECT_THAT(store_->List("ann", "", 5000).value(), ElementsAre("3"));
  EXPECT_EQ(Get({"bob", "4"}), bytes);
  EXPECT_TRUE(absl::IsResourceExhausted(Put({"ann", "3"}, std::string(301, 'x'))));
  EXPECT_EQ(Get({"ann", "3"}), bytes + bytes);
  // What is deleted or has expired takes no room.
  EXPECT_TRUE(store_->Delete({"ann", "3"}).ok());
  ASSERT_TRUE(Put({"ann", "5"}, bytes, absl::Now() + absl::Milliseconds(20)).ok());
  ASSERT_TRUE(Put({"ann", "6"}, bytes).ok());
  absl::SleepFor(absl::Milliseconds(50));
  ASSERT_TRUE(Put({"ann", "7"}, bytes).ok());
  EXPECT_THAT(store_->List("ann", "", 5000).value(), ElementsAre("6", "7"));
  EXPECT_EQ(Get({"bob", "4"}), bytes);
}

TEST_F(RedisStoreTest, ARedisThatIsFullByItsOwnBoundIsResourceExhausted) {
  Start({"--maxmemory", "4mb", "--maxmemory-policy", "noeviction"});
  for (const int64_t max_bytes : {0, 100 << 20}) {
    store_ = Open(max_bytes);
    ASSERT_TRUE(Put({"ann", "1"}, "old").ok());
    absl::Status status;
    for (int i = 2; status.ok() && i < 100; ++i) {
      status = Put({"ann", absl::StrCat(i)}, std::string(500'000, 'x'));
    }
    EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
    EXPECT_TRUE(absl::IsResourceExhausted(Put({"ann", "1"}, std::string(500'000, 'n'))));
    EXPECT_EQ(store_->Get({"ann", "1"}).value(), "old");
    for (int i = 2; i < 100; ++i) EXPECT_TRUE(store_->Delete({"ann", absl::StrCat(i)}).ok());
    EXPECT_TRUE(Put({"ann", "1"}, "new").ok());
  }
}

TEST_F(RedisStoreTest, DatabasesAreApart) {
  const auto other = OpenSnapshotStore(server_->url() + "/3", 0).value();
  ASSERT_TRUE(PutSnapshot(other.get(), {"ann", "1"}, "three").ok());
  EXPECT_EQ(Get({"ann", "1"}), "NOT_FOUND");
  EXPECT_EQ(other->Get({"ann", "1"}).value(), "three");
  const auto none = OpenSnapshotStore(server_->url() + "/1000", 0).value();
  const absl::Status status = none->Get({"ann", "1"}).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("DB index is out of range"));
}

TEST_F(RedisStoreTest, APasswordIsSentAndNeverSaid) {
  Start({"--requirepass", "se:cr@t"});
  const std::string address = absl::StrCat("127.0.0.1:", server_->port());
  for (const char* right : {":se:cr@t@", "default:se:cr@t@"}) {
    store_ = OpenSnapshotStore("redis://" + std::string(right) + address + "/1", 0).value();
    ASSERT_TRUE(Put({"ann", "1"}, right).ok());
    EXPECT_EQ(Get({"ann", "1"}), right);
  }
  store_ = OpenSnapshotStore("redis://:se%3acr%40t@" + address, 0).value();
  EXPECT_TRUE(Put({"ann", "2"}, "x").ok());
  for (const char* wrong : {"", ":hush@", "ann:se:cr@t@"}) {
    store_ = OpenSnapshotStore("redis://" + std::string(wrong) + address, 0).value();
    const absl::Status status = Put({"ann", "1"}, "x");
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_THAT(std::string(status.message()), Not(AnyOf(HasSubstr("hush"), HasSubstr("se:cr"))));
  }
  for (const char* refused : {"redis://:se:cr@t@cache:x", "rediss://:se:cr@t@cache"}) {
    const absl::Status status = OpenSnapshotStore(refused, 0).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("se:cr")));
  }
}

TEST(ParseRedisUrl, TakesHostPortAndDatabase) {
  const auto expect = [](const std::string& url, const std::string& host, int port, int database) {
    const auto options = ParseRedisUrl(url);
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_EQ(options->host, host);
    EXPECT_EQ(options->port, port);
    EXPECT_EQ(options->database, database);
  };
  expect("redis://cache", "cache", 6379, 0);
  expect("redis://cache.example:7000", "cache.example", 7000, 0);
  expect("redis://10.0.0.1/2", "10.0.0.1", 6379, 2);
  expect("redis://[::1]:7000/2", "::1", 7000, 2);
  expect("redis://[fe80::1]", "fe80::1", 6379, 0);
}

TEST(ParseRedisUrl, DecodesUserAndPassword) {
  const auto options = ParseRedisUrl("redis://a%6En:p%40ss%2Fw%3Ard%3D%25@cache:7000/2");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->user, "ann");
  EXPECT_EQ(options->password, "p@ss/w:rd=%");
  EXPECT_EQ(options->host, "cache");
  for (const char* url : {"redis://:se%cret@cache", "redis://:secret%4@cache",
                          "redis://:secret%@cache", "redis://se%zz:secret@cache"}) {
    const absl::Status status = ParseRedisUrl(url).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << url;
    EXPECT_THAT(std::string(status.message()), HasSubstr("%25 is a %"));
    EXPECT_THAT(std::string(status.message()), Not(AnyOf(HasSubstr("se%"), HasSubstr("secret"))));
  }
}

TEST(ParseRedisUrl, RefusesWhatItDoesNotUnderstand) {
  for (const char* url :
       {"", "redis://", "redis:/cache", "rediss://cache", "redis://:7000",
        "redis://cache:", "redis://cache:0", "redis://cache:65536", "redis://cache:7000x",
        "redis://cache/", "redis://cache/x", "redis://cache/-1", "redis://[::1", "redis://[::1]x",
        "redis://[]", "redis://::1", "redis://user@cache", "redis://user:@cache", "redis://:x@"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseRedisUrl(url).status())) << url;
  }
}

}  // namespace
}  // namespace retnet
