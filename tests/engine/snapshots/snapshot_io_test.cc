#include "engine/snapshots/snapshot_io.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <map>

#include "absl/time/clock.h"
#include "tests/engine/snapshots/controlled_store.h"
#include "tests/engine/snapshots/sample_snapshot.h"

namespace retnet {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kSnapshotBytes = 12 * 4 + 232;  // of SampleSnapshot(…, 12), as the queue counts

class SnapshotIoTest : public testing::Test {
 protected:
  void Start(int64_t max_queued_bytes = 1 << 20, const SnapshotFormat& format = SampleFormat()) {
    io_ = nullptr;
    io_ = std::make_unique<SnapshotIo>(std::make_unique<ControlledStore>(&control_), format,
                                       max_queued_bytes);
  }
  static Snapshot Sample(const std::string& id, uint32_t seed = 1) {
    return SampleSnapshot({"ann", id}, 12, seed);
  }
  std::future<absl::Status> Put(Snapshot snapshot) {
    auto [done, future] = Promised<absl::Status>();
    std::shared_ptr<SnapshotLineage> lineage = Lineage(snapshot.key.id);
    io_->Put(std::move(snapshot), std::move(lineage), done);
    return std::move(future);
  }
  std::future<absl::StatusOr<Snapshot>> Get(const std::string& id) {
    auto [done, future] = Promised<absl::StatusOr<Snapshot>>();
    io_->Get({"ann", id}, Lineage(id), done);
    return std::move(future);
  }
  std::future<absl::Status> Delete(const std::string& id) {
    auto [done, future] = Promised<absl::Status>();
    io_->Delete({"ann", id}, done);
    return std::move(future);
  }
  std::future<absl::StatusOr<bool>> Check(const std::string& id) {
    auto [done, future] = Promised<absl::StatusOr<bool>>();
    io_->Check({"ann", id}, Lineage(id), done);
    return std::move(future);
  }
  absl::StatusOr<std::vector<SessionInfo>> List(const std::string& after = "",
                                                int32_t limit = 100) {
    auto [done, future] = Promised<absl::StatusOr<std::vector<SessionInfo>>>();
    io_->List("ann", after, limit, done);
    return future.get();
  }
  std::vector<std::string> Ids(const std::string& after = "", int32_t limit = 100) {
    std::vector<std::string> ids;
    const auto infos = List(after, limit);
    for (const SessionInfo& info : *infos) ids.push_back(info.key.id);
    return ids;
  }
  // Of the session that this process has.
  std::shared_ptr<SnapshotLineage> Lineage(const std::string& id) {
    std::shared_ptr<SnapshotLineage>& lineage = lineages_[id];
    if (lineage == nullptr) lineage = std::make_shared<SnapshotLineage>();
    return lineage;
  }
  // Another session's operation, which keeps the thread busy until Release.
  std::future<absl::Status> HoldThread() {
    control_.Hold();
    auto busy = Put(Sample("busy"));
    control_.AwaitStopped();
    return busy;
  }

  StoreControl control_;
  std::map<std::string, std::shared_ptr<SnapshotLineage>> lineages_;
  std::unique_ptr<SnapshotIo> io_;

 private:
  template <typename T>
  static std::pair<std::function<void(T)>, std::future<T>> Promised() {
    const auto promise = std::make_shared<std::promise<T>>();
    return {[promise](T value) { promise->set_value(std::move(value)); }, promise->get_future()};
  }
};

TEST_F(SnapshotIoTest, WhatIsPutIsGot) {
  Start();
  EXPECT_TRUE(Put(Sample("1")).get().ok());
  const auto got = Get("1").get();
  ASSERT_TRUE(got.ok()) << got.status();
  ExpectSame(*got, Sample("1"));
  EXPECT_TRUE(absl::IsNotFound(Get("2").get().status()));
  EXPECT_TRUE(Delete("1").get().ok());
  EXPECT_TRUE(absl::IsNotFound(Get("1").get().status()));
  const SnapshotIoStats stats = io_->stats();
  EXPECT_EQ(stats.written, 1);
  EXPECT_EQ(stats.read, 1);
  EXPECT_GT(stats.read_bytes, kSnapshotBytes);
  EXPECT_EQ(stats.read_bytes, stats.written_bytes);
  EXPECT_EQ(stats.missing, 2);
  EXPECT_EQ(stats.queued_bytes, 0);
}

TEST_F(SnapshotIoTest, ListsTheSessionsThatCouldGoOn) {
  Start();
  Snapshot labelled = Sample("c");
  for (int i = 0; i < 64; ++i) labelled.labels[std::to_string(i)] = std::string(1000, 'x');
  Put(labelled);
  for (const char* id : {"e", "a", "d", "b"}) Put(Sample(id));
  Snapshot expired = Sample("aa");
  expired.expires = absl::Now() - absl::Seconds(1);
  Put(expired);
  ASSERT_TRUE(io_->Flush(absl::InfiniteFuture()).ok());
  auto& bytes = control_.bytes();
  bytes[{"ann", "ab"}] = bytes[{"ann", "a"}];  // another's
  bytes[{"ann", "ac"}] = bytes[{"ann", "a"}].substr(0, 50);
  bytes[{"ann", "ad"}] = "";
  bytes[{"bob", "f"}] = bytes[{"ann", "a"}];
  EXPECT_THAT(Ids(), ElementsAre("a", "b", "c", "d", "e"));
  EXPECT_THAT(Ids("", 2), ElementsAre("a", "b"));
  EXPECT_THAT(Ids("b", 2), ElementsAre("c", "d"));
  EXPECT_THAT(Ids("e"), testing::IsEmpty());
  const SessionInfo info = List("b", 1).value().front();
  EXPECT_EQ(info.labels, labelled.labels);
  EXPECT_EQ(info.tokens, 12);
  EXPECT_EQ(info.tier, StateTier::kStore);
  EXPECT_EQ(io_->stats().read, 0) << "no state is read";
  control_.Fail(absl::UnavailableError("gone"));
  EXPECT_TRUE(absl::IsUnavailable(List().status()));
  SnapshotFormat other = SampleFormat();
  other.model_fingerprint = 5;
  control_.Fail(absl::OkStatus());
  Start(1 << 20, other);
  EXPECT_THAT(Ids(), testing::IsEmpty());
}

TEST_F(SnapshotIoTest, WhatFollowsAnothersSnapshotIsRefusedAndCounted) {
  Start();
  ASSERT_TRUE(Put(Sample("1", /*seed=*/1)).get().ok());
  EXPECT_EQ(Check("1").get().value(), false);
  const auto here = std::exchange(lineages_["1"], nullptr);  // from here on another server's
  EXPECT_TRUE(absl::IsAborted(Put(Sample("1", /*seed=*/2)).get())) << "it follows none";
  EXPECT_EQ(Check("1").get().value(), true);
  ASSERT_TRUE(Get("1").get().ok());
  EXPECT_EQ(Check("1").get().value(), false);
  ASSERT_TRUE(Put(Sample("1", /*seed=*/3)).get().ok());
  lineages_["1"] = here;
  EXPECT_EQ(Check("1").get().value(), true);
  EXPECT_TRUE(absl::IsAborted(Put(Sample("1", /*seed=*/4)).get()));
  ExpectSame(Get("1").get().value(), Sample("1", /*seed=*/3));
  EXPECT_TRUE(Put(Sample("1", /*seed=*/4)).get().ok()) << "now it follows";
  EXPECT_EQ(io_->stats().conflicts, 2);
  EXPECT_EQ(io_->stats().failed, 0);
  // What the store has lost may be put again.
  ASSERT_TRUE(Delete("1").get().ok());
  EXPECT_EQ(Check("1").get().value(), false);
  EXPECT_TRUE(Put(Sample("1", /*seed=*/5)).get().ok());
}

// The connection may end between the write and its answer.
TEST_F(SnapshotIoTest, APutThatFailedAndIsThereAllTheSameIsNotAnothers) {
  Start();
  ASSERT_TRUE(Put(Sample("1", /*seed=*/1)).get().ok());
  control_.Fail(absl::UnavailableError("gone"));
  EXPECT_TRUE(absl::IsUnavailable(Put(Sample("1", /*seed=*/2)).get()));
  control_.Fail(absl::OkStatus());
  control_.bytes()[{"ann", "1"}] = EncodeSnapshot(Sample("1", /*seed=*/2), SampleFormat()).value();
  EXPECT_EQ(Check("1").get().value(), false);
  EXPECT_TRUE(Put(Sample("1", /*seed=*/3)).get().ok());
}

TEST_F(SnapshotIoTest, ACheckGoesBeforeOtherSessionsOperationsAndBehindItsOwn) {
  Start();
  HoldThread();
  Put(Sample("1"));
  auto first = Check("2");
  auto last = Check("1");
  control_.Release();
  EXPECT_EQ(first.get().value(), false);
  EXPECT_EQ(last.get().value(), false);
  EXPECT_THAT(control_.calls(), ElementsAre("put busy", "stamp 2", "put 1", "stamp 1"));
}

TEST_F(SnapshotIoTest, OneOfASessionThatWaitsIsReplacedByANewer) {
  Start();
  HoldThread();
  auto first = Put(Sample("1", /*seed=*/1));
  Put(Sample("2"));
  auto second = Put(Sample("1", /*seed=*/2));
  auto got = Get("1");
  auto third = Put(Sample("1", /*seed=*/3));
  EXPECT_EQ(io_->stats().queued_bytes, 4 * kSnapshotBytes);
  control_.Release();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  // What is asked for in between is answered as of then.
  ExpectSame(got.get().value(), Sample("1", /*seed=*/2));
  EXPECT_TRUE(third.get().ok());
  EXPECT_THAT(control_.calls(), ElementsAre("put busy", "put 1", "put 2", "get 1", "put 1"));
  EXPECT_EQ(io_->stats().replaced, 1);
}

TEST_F(SnapshotIoTest, OneThatHasBegunOrWasDeletedIsNotReplaced) {
  Start();
  control_.Hold();
  Put(Sample("1", /*seed=*/1));
  control_.AwaitStopped();
  Put(Sample("1", /*seed=*/2));
  Delete("1");
  Put(Sample("1", /*seed=*/3));
  control_.Release();
  ExpectSame(Get("1").get().value(), Sample("1", /*seed=*/3));
  EXPECT_THAT(control_.calls(), ElementsAre("put 1", "put 1", "delete 1", "put 1", "get 1"));
}

TEST_F(SnapshotIoTest, AFullQueueRefusesAndKeepsWhatItHas) {
  Start(2 * kSnapshotBytes);
  HoldThread();
  auto first = Put(Sample("1"));
  auto refused = Put(Sample("2"));
  auto newer = Put(Sample("1", /*seed=*/2));  // takes no more room than the one that it replaces
  control_.Release();
  EXPECT_TRUE(absl::IsCancelled(refused.get()));
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(newer.get().ok());
  EXPECT_EQ(io_->stats().queue_full, 1);
  EXPECT_TRUE(Put(Sample("2")).get().ok());
}

TEST_F(SnapshotIoTest, OneLargerThanTheQueueGoesThroughAlone) {
  Start(/*max_queued_bytes=*/1);
  EXPECT_TRUE(Put(Sample("1")).get().ok());
  HoldThread();
  auto refused = Put(Sample("2"));
  control_.Release();
  EXPECT_TRUE(absl::IsCancelled(refused.get()));
}

TEST_F(SnapshotIoTest, RefusesAndCountsWhatItMustNotLoad) {
  Start();
  ASSERT_TRUE(Put(Sample("1")).get().ok());
  ASSERT_TRUE(io_->Flush(absl::InfiniteFuture()).ok());
  const std::string sound = control_.bytes()[{"ann", "1"}];
  control_.bytes()[{"ann", "2"}] = sound;  // a snapshot under another's name
  control_.bytes()[{"ann", "3"}] = sound.substr(1);
  Snapshot expired = Sample("4");
  expired.expires = absl::Now() - absl::Seconds(1);
  ASSERT_TRUE(Put(expired).get().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Get("2").get().status()));
  EXPECT_TRUE(absl::IsDataLoss(Get("3").get().status()));
  EXPECT_TRUE(absl::IsNotFound(Get("4").get().status()));
  SnapshotFormat other = SampleFormat();
  other.model_fingerprint = 5;
  EXPECT_EQ(io_->stats().refused_foreign, 1);
  EXPECT_EQ(io_->stats().refused_damaged, 1);
  Start(1 << 20, other);
  EXPECT_TRUE(absl::IsFailedPrecondition(Get("1").get().status()));
  EXPECT_EQ(io_->stats().refused_foreign, 1);
  EXPECT_EQ(io_->stats().failed, 0);
}

TEST_F(SnapshotIoTest, ErrorsOfTheStoreReachTheCallerAndAreCounted) {
  Start();
  control_.Fail(absl::UnavailableError("gone"));
  EXPECT_TRUE(absl::IsUnavailable(Put(Sample("1")).get()));
  EXPECT_TRUE(absl::IsUnavailable(Get("1").get().status()));
  EXPECT_TRUE(absl::IsUnavailable(Delete("1").get()));
  EXPECT_EQ(io_->stats().failed, 3);
  control_.Fail(absl::OkStatus());
  Snapshot inconsistent = Sample("1");
  inconsistent.state = nullptr;
  EXPECT_TRUE(absl::IsInvalidArgument(Put(inconsistent).get()));
  EXPECT_EQ(io_->stats().failed, 4);
  EXPECT_TRUE(Put(Sample("1")).get().ok());
}

TEST_F(SnapshotIoTest, FlushWaitsForWhatWasCalledBeforeOrForItsDeadline) {
  Start();
  EXPECT_TRUE(io_->Flush(absl::InfinitePast()).ok());  // nothing to wait for
  HoldThread();
  EXPECT_TRUE(absl::IsDeadlineExceeded(io_->Flush(absl::Now() + absl::Milliseconds(5))));
  control_.Release();
  EXPECT_TRUE(io_->Flush(absl::InfiniteFuture()).ok());
  EXPECT_THAT(control_.calls(), ElementsAre("put busy"));
}

TEST_F(SnapshotIoTest, TheDestructorFinishesWhatIsQueued) {
  Start();
  HoldThread();
  std::vector<std::future<absl::Status>> done;
  for (int i = 0; i < 10; ++i) done.push_back(Put(Sample(std::to_string(i))));
  control_.Release();
  io_ = nullptr;
  for (auto& status : done) EXPECT_TRUE(status.get().ok());
  EXPECT_EQ(control_.bytes().size(), 11);
}

TEST_F(SnapshotIoTest, ADoneMayCallBack) {
  Start();
  std::promise<absl::StatusOr<Snapshot>> got;
  io_->Put(Sample("1"), Lineage("1"), [&](absl::Status) {
    io_->Get({"ann", "1"}, Lineage("1"),
             [&](auto snapshot) { got.set_value(std::move(snapshot)); });
  });
  EXPECT_TRUE(got.get_future().get().ok());
}

}  // namespace
}  // namespace retnet
