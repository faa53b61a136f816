// A session that came from outside serves itself alone: whatever becomes of it, others get the
// answers that they would get without it.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/oracle.h"
#include "tests/engine/sessions/sessions_fixture.h"

namespace retnet {
namespace {

constexpr int32_t kChunk = 4;
const SessionKey kEvil = {"anna", "evil"};

// The text that others send. Its last token is pending in the forged session.
std::vector<TokenId> Text() { return std::vector<TokenId>(21, 3); }

class ImportedSessionsTest : public SessionsTest {
 protected:
  void SetUp() override {
    Start({.slots = 4, .max_rows = 16, .chunk = kChunk}, {}, /*with_store=*/true);
  }

  void StartAgain(int64_t host_bytes) {
    AwaitStored();
    executor_options_.state_cache.host_bytes = host_bytes;
    Crash();
  }

  // The tokens of Text with the state of other tokens: a base at 16, then 4 tokens of a tail.
  static Snapshot Forged() {
    Snapshot snapshot;
    snapshot.key = kEvil;
    snapshot.version = 1;
    snapshot.history = Text();
    snapshot.shape = {.base_position = 16, .position = 20};
    const uint64_t state[] = {0x123456789ABCDEF, 7, 7, 7, 7};
    auto bytes = std::make_shared<ByteVector>(sizeof(state));
    std::memcpy(bytes->data(), state, sizeof(state));
    snapshot.state = std::move(bytes);
    return snapshot;
  }

  void Import(const SessionKey& key, Snapshot snapshot) {
    const auto imported =
        Call<SessionInfo>([&](Sessions& sessions, const Reply<SessionInfo>& reply) {
          sessions.Import({.key = key, .labels = {}}, std::move(snapshot), absl::Now(), reply);
        });
    ASSERT_TRUE(imported.ok()) << imported.status();
  }
  Snapshot Export(const SessionKey& key) {
    auto exported = Call<Snapshot>(
        [&](Sessions& sessions, const Reply<Snapshot>& reply) { sessions.Export(key, reply); });
    EXPECT_TRUE(exported.ok()) << exported.status();
    return exported.value_or(Snapshot());
  }

  int64_t Cached() { return executor_->stats().cached_prefixes; }

  void Run(Request request) {
    const auto sink = Submit(std::move(request));
    TurnUntil([&] { return sink->done(); });
    EXPECT_TRUE(sink->completion().status.ok()) << sink->completion().status;
  }
  // Enough of everything that caches: the prompt passes chunks, and is marked.
  void GoOnFarther(const SessionKey& key) {
    Request request = Generation(key, std::vector<TokenId>(10, 3), 9);
    request.cache_boundaries = {4, 8};
    Run(std::move(request));
    Run(Generation(key, {}, 1));
  }

  // Somebody who sends Text, with more than the forged session's tokens behind it.
  void ExpectHonestAnswers() {
    std::vector<TokenId> prompt = Text();
    prompt.insert(prompt.end(), 12, 3);
    for (const size_t tokens : {17, 21, 22, 33}) {
      Request request = Generation({"anna", ""}, {}, 6);
      request.prompt.assign(prompt.begin(), prompt.begin() + tokens);
      request.logprobs = true;
      const Expected expected = ExpectedOf(options_, request, kContext);
      const auto sink = Submit(std::move(request));
      TurnUntil([&] { return sink->done(); });
      EXPECT_TRUE(SameResults(sink->results(), expected.results)) << tokens;
    }
  }
};

// What may become of the imported session.
class Ways : public ImportedSessionsTest {
 public:
  void GoesOn() { GoOnFarther(kEvil); }
  void IsPrefilled() {
    Request request = Generation(kEvil, std::vector<TokenId>(10, 3), 1);
    request.kind = RequestKind::kPrefill;
    request.cache_boundaries = {4, 8};
    Run(std::move(request));
  }
  void IsScored() {
    Request request = Generation(kEvil, std::vector<TokenId>(10, 3), 1);
    request.kind = RequestKind::kScore;
    Run(std::move(request));
  }
  void EndsWithItsRequest() {
    Request request = Generation(kEvil, std::vector<TokenId>(10, 3), 9);
    request.keep = false;
    Run(std::move(request));
  }
  void GoesOnAsAFork() {
    ASSERT_TRUE(Fork(kEvil, {"child"}).ok());
    ASSERT_TRUE(Delete(kEvil).ok());
    ASSERT_TRUE(Fork({"anna", "child"}, {"grandchild"}).ok());
    GoOnFarther({"anna", "grandchild"});
  }
  void GoesOnRewound() {
    ASSERT_TRUE(Rewind(kEvil, 18).ok());
    GoOnFarther(kEvil);
  }
  void GoesOnFromItsFirstToken() {
    ASSERT_TRUE(Rewind(kEvil, 0).ok());
    Run(Generation(kEvil, Text(), 2));
    GoOnFarther(kEvil);
  }
  void GoesOnWhenItsStateWasEvicted() {
    ASSERT_TRUE(Delete(kEvil).ok());
    StartAgain(/*host_bytes=*/32);  // the state has 40
    Import(kEvil, Forged());
    ASSERT_EQ(Get(kEvil)->state_tokens, 0);
    GoOnFarther(kEvil);
  }
  void IsExportedAndImportedAgain() {
    const Snapshot exported = Export(kEvil);
    EXPECT_TRUE(exported.imported);
    ASSERT_TRUE(Delete(kEvil).ok());
    Import(kEvil, exported);
    GoOnFarther(kEvil);
  }
  void IsReadFromTheStore() {
    GoOnFarther(kEvil);
    AwaitStored();
    Crash();
    EXPECT_TRUE(Export(kEvil).imported);
    GoOnFarther(kEvil);
  }
  void IsReadFromTheStoreAsAFork() {
    ASSERT_TRUE(Fork(kEvil, {"child"}).ok());
    AwaitStored();
    Crash();
    EXPECT_TRUE(Export({"anna", "child"}).imported);
    GoOnFarther({"anna", "child"});
  }
  // By somebody who can write to the store.
  void IsForgedInTheStore() {
    ASSERT_TRUE(Delete(kEvil).ok());
    AwaitStored();
    stored_[kEvil] = EncodeSnapshot(Forged(), io_->format()).value();
    GoOnFarther(kEvil);
  }

 private:
  void TestBody() override {}
};

struct Way {
  const char* name;
  void (Ways::*take)();

  friend void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }
};

class EveryWay : public Ways, public testing::WithParamInterface<Way> {};

TEST_P(EveryWay, OthersGetWhatTheyWouldGetWithoutIt) {
  Import(kEvil, Forged());
  (this->*GetParam().take)();
  EXPECT_EQ(Cached(), 0);
  ExpectHonestAnswers();
}

// So that nothing above holds because nothing is ever cached.
TEST_F(ImportedSessionsTest, OnesOfItsOwnServeOthers) {
  ASSERT_TRUE(Create(kEvil).ok());
  Run(Generation(kEvil, Text(), 1));
  GoOnFarther(kEvil);
  EXPECT_GT(Cached(), 0);
  ExpectHonestAnswers();
  EXPECT_GT(executor_->stats().cache_hits, 0);
}

// With a key, this server vouches for what it reads; and only for that.
TEST_F(ImportedSessionsTest, OnesThatAreReadServeOthersIfTheyAreSigned) {
  const std::string path = testing::TempDir() + "/imported_sessions_key";
  std::ofstream(path) << std::string(32, 'k');
  const SnapshotKey key = SnapshotKey::Read(path).value();
  for (const SnapshotKey* used : {static_cast<const SnapshotKey*>(nullptr), &key}) {
    key_ = used;
    StartAgain(/*host_bytes=*/1000);
    stored_.clear();  // with what the executor before has written at its end
    ASSERT_TRUE(Create(kEvil).ok());
    Run(Generation(kEvil, Text(), 1));
    Import({"anna", "imported"}, Forged());
    AwaitStored();
    Crash();
    Run(Generation({"anna", "imported"}, {3, 3, 3, 3, 3}, 1));
    EXPECT_EQ(Cached(), 0);
    GoOnFarther(kEvil);
    EXPECT_EQ(Cached() > 0, used != nullptr);
    ExpectHonestAnswers();
  }
  // One that is not signed is refused.
  SnapshotFormat unsigned_format = io_->format();
  unsigned_format.key = nullptr;
  AwaitStored();
  Crash();
  stored_[kEvil] = EncodeSnapshot(Forged(), unsigned_format).value();
  EXPECT_TRUE(absl::IsFailedPrecondition(Get(kEvil).status()));
}

// An imported session goes on from what others have computed, and stays what it is.
TEST_F(ImportedSessionsTest, AreServedByOthers) {
  Run(Generation({"anna", ""}, Text(), 1));
  ASSERT_GT(Cached(), 0);
  const int64_t cached = Cached();
  Snapshot without_state = Forged();
  without_state.shape = {};
  without_state.state = nullptr;
  Import(kEvil, std::move(without_state));
  Request request = Generation(kEvil, {1}, 20);
  const auto sink = Submit(std::move(request));
  TurnUntil([&] { return sink->done(); });
  EXPECT_GE(sink->completion().usage.cached_tokens, 16);
  EXPECT_EQ(Cached(), cached);
}

constexpr Way kWays[] = {
    {"GoesOn", &Ways::GoesOn},
    {"IsPrefilled", &Ways::IsPrefilled},
    {"IsScored", &Ways::IsScored},
    {"EndsWithItsRequest", &Ways::EndsWithItsRequest},
    {"GoesOnAsAFork", &Ways::GoesOnAsAFork},
    {"GoesOnRewound", &Ways::GoesOnRewound},
    {"GoesOnFromItsFirstToken", &Ways::GoesOnFromItsFirstToken},
    {"GoesOnWhenItsStateWasEvicted", &Ways::GoesOnWhenItsStateWasEvicted},
    {"IsExportedAndImportedAgain", &Ways::IsExportedAndImportedAgain},
    {"IsReadFromTheStore", &Ways::IsReadFromTheStore},
    {"IsReadFromTheStoreAsAFork", &Ways::IsReadFromTheStoreAsAFork},
    {"IsForgedInTheStore", &Ways::IsForgedInTheStore},
};
INSTANTIATE_TEST_SUITE_P(ImportedSessions, EveryWay, testing::ValuesIn(kWays),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace retnet
