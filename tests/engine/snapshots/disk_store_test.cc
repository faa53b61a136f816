#include "engine/snapshots/disk_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "absl/time/clock.h"
#include "engine/snapshots/open_snapshot_store.h"
#include "tests/engine/sessions/put_snapshot.h"

namespace retnet {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kFooter = 24;  // bytes that a file has beside the snapshot

class DiskStoreTest : public testing::Test {
 protected:
  DiskStoreTest() {
    std::string folder = testing::TempDir() + "disk_store_XXXXXX";
    if (mkdtemp(folder.data()) == nullptr) ADD_FAILURE() << folder;
    folder_ = folder;
  }
  ~DiskStoreTest() override { fs::remove_all(folder_); }

  // What a new process would see.
  void Open(int64_t max_bytes = 0, int64_t max_snapshot_bytes = 1 << 20) {
    store_ = nullptr;
    auto store = DiskStore::Open(folder_, max_bytes, max_snapshot_bytes);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  absl::Status Put(const SessionKey& key, const std::string& bytes,
                   absl::Time expires = absl::InfiniteFuture()) {
    return PutSnapshot(store_.get(), key, bytes, expires);
  }
  std::string Get(const SessionKey& key) {
    const auto bytes = store_->Get(key);
    return bytes.ok() ? *bytes : std::string(absl::StatusCodeToString(bytes.status().code()));
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
      if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), folder_));
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  // So that the order of uses shows in times of modification.
  void Age(const std::string& file, int seconds) {
    fs::last_write_time(folder_ + "/" + file,
                        fs::file_time_type::clock::now() - std::chrono::seconds(seconds));
  }

  std::string folder_;
  std::unique_ptr<DiskStore> store_;
};

TEST_F(DiskStoreTest, KeepsWhatIsPutAlsoWhenOpenedAgain) {
  Open();
  const std::string bytes("\0\n\xFF snapshot", 12);
  ASSERT_TRUE(Put({"ann", "1"}, "old").ok());
  ASSERT_TRUE(Put({"ann", "1"}, bytes).ok());
  ASSERT_TRUE(Put({"ann", "2"}, "").ok());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Get({"ann", "1"}), bytes);
    EXPECT_EQ(Get({"ann", "2"}), "");
    EXPECT_EQ(Get({"ann", "3"}), "NOT_FOUND");
    EXPECT_EQ(store_->bytes(), bytes.size() + 2 * kFooter);
    Open();
  }
  EXPECT_THAT(Files(), ElementsAre("lock", "owner-ann/1.snapshot", "owner-ann/2.snapshot"));
}

TEST_F(DiskStoreTest, DeletesAndDoesNotMindWhatIsNotThere) {
  Open();
  ASSERT_TRUE(Put({"ann", "1"}, "x").ok());
  EXPECT_TRUE(store_->Delete({"ann", "1"}).ok());
  EXPECT_TRUE(store_->Delete({"ann", "1"}).ok());
  EXPECT_EQ(Get({"ann", "1"}), "NOT_FOUND");
  EXPECT_THAT(Files(), ElementsAre("lock"));
  EXPECT_EQ(store_->bytes(), 0);
}

TEST_F(DiskStoreTest, ListsTheIdsOfOneOwner) {
  Open();
  for (const SessionKey& key : {SessionKey{"ann", "b"}, {"ann", "a"}, {"bob", "c"}, {"", "d"}}) {
    ASSERT_TRUE(Put(key, "x").ok());
  }
  EXPECT_THAT(*store_->List("ann", "", 5000), ElementsAre("a", "b"));
  EXPECT_THAT(*store_->List("", "", 5000), ElementsAre("d"));
  EXPECT_THAT(*store_->List("an", "", 5000), IsEmpty());
}

TEST_F(DiskStoreTest, ReplacesOnlyWhatItIsToldOfAlsoWhenOpenedAgain) {
  Open();
  const SessionKey key = {"ann", "1"};
  const auto put = [&](const std::string& bytes, const std::vector<SnapshotStamp>& over) {
    return store_->Put(key, bytes, absl::InfiniteFuture(), over);
  };
  EXPECT_EQ(store_->Stamp(key).value(), "");
  ASSERT_TRUE(put("the first one", {"whatever"}).ok()) << "nothing is there";
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(store_->Stamp(key).value(), StampOf("the first one"));
    EXPECT_TRUE(absl::IsAborted(put("the second one", {StampOf("another")})));
    EXPECT_EQ(Get(key), "the first one");
    Open();
  }
  EXPECT_TRUE(put("the second one", {StampOf("another"), StampOf("the first one")}).ok());
  EXPECT_EQ(Get(key), "the second one");
}

TEST_F(DiskStoreTest, ListsPagesAndGivesHeads) {
  Open();
  for (const char* id : {"d", "b", "c", "a"}) ASSERT_TRUE(Put({"ann", id}, "bytes of many").ok());
  EXPECT_THAT(store_->List("ann", "b", 2).value(), ElementsAre("b", "c"));
  EXPECT_THAT(store_->Heads("ann", {"a", "none", "b"}, 5).value(),
              ElementsAre("bytes", "", "bytes"));
  EXPECT_THAT(store_->Heads("ann", {"a"}, 5000).value(), ElementsAre("bytes of many"));
  EXPECT_THAT(store_->Heads("bob", {"a"}, 5).value(), ElementsAre(""));
}

TEST_F(DiskStoreTest, NoNameLeavesTheFolderOrMeetsAnother) {
  Open();
  const std::vector<std::string> names = {
      "",  ".",    "..", "../../x",  "/etc/x",           "a/b", "a%2Fb", std::string("a\0b", 3),
      "a", "lock", "*",  "\xC3\xA4", "owner-a.snapshot", "A"};
  for (const std::string& owner : names) {
    for (const std::string& id : names) ASSERT_TRUE(Put({owner, id}, owner + "|" + id).ok());
  }
  Open();
  for (const std::string& owner : names) {
    for (const std::string& id : names) EXPECT_EQ(Get({owner, id}), owner + "|" + id);
    EXPECT_EQ(store_->List(owner, "", 5000)->size(), names.size());
  }
  EXPECT_EQ(Files().size(), names.size() * names.size() + 1);
}

TEST_F(DiskStoreTest, IdsTooLongForAFileNameAreKeptInTheFile) {
  Open();
  std::vector<std::string> ids;
  for (const size_t length : {80, 81, 240, 241, 256, 1024}) {
    for (const char byte : {'a', 'b', '/', '~'}) ids.push_back(std::string(length, byte));
  }
  for (const std::string& id : ids) ASSERT_TRUE(Put({"ann", id}, "of " + id).ok());
  ASSERT_TRUE(Put({"ann", ids.back()}, "").ok());
  ids.pop_back();
  for (int i = 0; i < 2; ++i) {
    for (const std::string& id : ids) {
      EXPECT_EQ(Get({"ann", id}), "of " + id);
      EXPECT_EQ(store_->Stamp({"ann", id}).value(), StampOf("of " + id));
      EXPECT_THAT(store_->Heads("ann", {id}, 5000).value(), ElementsAre("of " + id));
    }
    EXPECT_EQ(Get({"ann", std::string(1024, '~')}), "");
    EXPECT_EQ(store_->List("ann", "", 5000)->size(), ids.size() + 1);
    Open();
  }
  const auto listed = store_->List("ann", "", 5000);
  for (const std::string& id : *listed) {
    EXPECT_TRUE(store_->Delete({"ann", id}).ok());
  }
  EXPECT_THAT(Files(), ElementsAre("lock"));
  EXPECT_EQ(store_->bytes(), 0);
}

TEST_F(DiskStoreTest, NamesTooLongAreRefused) {
  Open();
  EXPECT_TRUE(Put({std::string(80, '/'), "1"}, "x").ok());
  EXPECT_TRUE(Put({std::string(240, 'a'), "1"}, "x").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(Put({std::string(81, '/'), "1"}, "x")));
  EXPECT_TRUE(absl::IsInvalidArgument(Put({std::string(241, 'a'), "1"}, "x")));
  EXPECT_TRUE(absl::IsInvalidArgument(Put({"ann", std::string(1025, 'a')}, "x")));
}

TEST_F(DiskStoreTest, TheLeastRecentlyUsedMakeRoom) {
  const std::string bytes(100 - kFooter, 'x');
  Open(/*max_bytes=*/300);
  for (const char* id : {"1", "2", "3"}) ASSERT_TRUE(Put({"ann", id}, bytes).ok());
  Get({"ann", "1"});
  ASSERT_TRUE(Put({"ann", "4"}, bytes).ok());
  EXPECT_THAT(*store_->List("ann", "", 5000), ElementsAre("1", "3", "4"));
  ASSERT_TRUE(Put({"ann", "3"}, bytes + bytes).ok());  // takes the room of one more
  EXPECT_THAT(*store_->List("ann", "", 5000), ElementsAre("3", "4"));
  EXPECT_LE(store_->bytes(), 300);
}

TEST_F(DiskStoreTest, TheOrderOfUsesOutlivesTheProcess) {
  const std::string bytes(100 - kFooter, 'x');
  Open();
  for (const char* id : {"1", "2", "3"}) ASSERT_TRUE(Put({"ann", id}, bytes).ok());
  Age("owner-ann/1.snapshot", 50);
  Age("owner-ann/2.snapshot", 70);
  Age("owner-ann/3.snapshot", 60);
  Get({"ann", "2"});  // now the most recent
  Open(/*max_bytes=*/250);
  EXPECT_THAT(*store_->List("ann", "", 5000), ElementsAre("1", "2"));
}

TEST_F(DiskStoreTest, OneLargerThanTheStoreIsRefusedAndCostsNoOther) {
  Open(/*max_bytes=*/100);
  ASSERT_TRUE(Put({"ann", "1"}, "x").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(Put({"ann", "2"}, std::string(100, 'x'))));
  EXPECT_TRUE(absl::IsResourceExhausted(Put({"ann", "1"}, std::string(100, 'x'))));
  EXPECT_EQ(Get({"ann", "1"}), "x");
}

TEST_F(DiskStoreTest, WhatHasExpiredIsGone) {
  Open();
  ASSERT_TRUE(Put({"ann", "1"}, "x", absl::Now() - absl::Seconds(1)).ok());
  ASSERT_TRUE(Put({"ann", "2"}, "y", absl::Now() + absl::Hours(1)).ok());
  EXPECT_EQ(Get({"ann", "1"}), "NOT_FOUND");
  EXPECT_THAT(*store_->List("ann", "", 5000), ElementsAre("2"));
  Open();
  EXPECT_THAT(Files(), ElementsAre("lock", "owner-ann/2.snapshot"));
  ASSERT_TRUE(Put({"ann", "1"}, "x", absl::Now() - absl::Seconds(1)).ok());
  ASSERT_TRUE(Put({"ann", "3"}, "z").ok());
  EXPECT_THAT(Files(), ElementsAre("lock", "owner-ann/2.snapshot", "owner-ann/3.snapshot"));
}

TEST_F(DiskStoreTest, LeftoversOfACrashGoAndForeignFilesStay) {
  Open();
  ASSERT_TRUE(Put({"ann", "1"}, "x").ok());
  store_ = nullptr;
  const std::vector<std::string> foreign = {"notes.txt",
                                            "owner-ann/2.snapshot.bak",
                                            "owner-ann/a.b.snapshot",
                                            "owner-%61/3.snapshot",
                                            "owner-ann/deeper/owner-ann/4.snapshot",
                                            "5.snapshot"};
  fs::create_directories(folder_ + "/owner-%61");
  fs::create_directories(folder_ + "/owner-ann/deeper/owner-ann");
  fs::create_directories(folder_ + "/owner-ann/folder.snapshot");
  for (const std::string& file : foreign) std::ofstream(folder_ + "/" + file) << "mine";
  std::ofstream(folder_ + "/incoming") << "half a snapsh";
  Open(/*max_bytes=*/100);
  EXPECT_THAT(*store_->List("ann", "", 5000), ElementsAre("1"));
  ASSERT_TRUE(Put({"ann", "2"}, std::string(70, 'x')).ok());  // evicts
  EXPECT_THAT(*store_->List("ann", "", 5000), ElementsAre("2"));
  EXPECT_FALSE(fs::exists(folder_ + "/incoming"));
  for (const std::string& file : foreign) EXPECT_TRUE(fs::exists(folder_ + "/" + file)) << file;
}

TEST_F(DiskStoreTest, AFileThatLostItsEndIsDataLoss) {
  Open();
  ASSERT_TRUE(Put({"ann", "1"}, "snapshot").ok());
  const std::string path = folder_ + "/owner-ann/1.snapshot";
  for (const int size : {31, 24, 10, 0}) {
    fs::resize_file(path, size);
    EXPECT_EQ(Get({"ann", "1"}), "DATA_LOSS") << size;
    Open();
    EXPECT_EQ(Get({"ann", "1"}), "DATA_LOSS") << size;
  }
  ASSERT_TRUE(Put({"ann", "1"}, "new").ok());
  EXPECT_EQ(Get({"ann", "1"}), "new");
  fs::remove(path);
  EXPECT_EQ(Get({"ann", "1"}), "NOT_FOUND");
  EXPECT_EQ(store_->bytes(), 0);
}

TEST_F(DiskStoreTest, AFileLargerThanAnySnapshotIsDataLossAndIsNotRead) {
  Open(/*max_bytes=*/0, /*max_snapshot_bytes=*/100);
  ASSERT_TRUE(Put({"ann", "1"}, std::string(99, 'x')).ok());
  ASSERT_TRUE(Put({"ann", "2"}, std::string(100, 'x')).ok());
  ASSERT_TRUE(Put({"ann", "3"}, std::string(101, 'x')).ok());
  EXPECT_EQ(Get({"ann", "1"}), std::string(99, 'x'));
  EXPECT_EQ(Get({"ann", "2"}), std::string(100, 'x'));
  EXPECT_EQ(Get({"ann", "3"}), "DATA_LOSS");
  // A terabyte that takes no room on the disk: there at the start, and grown since.
  fs::resize_file(folder_ + "/owner-ann/1.snapshot", int64_t{1} << 40);
  EXPECT_EQ(Get({"ann", "1"}), "DATA_LOSS");
  Open(/*max_bytes=*/0, /*max_snapshot_bytes=*/100);
  EXPECT_EQ(Get({"ann", "1"}), "DATA_LOSS");
  EXPECT_THAT(std::string(store_->Get({"ann", "1"}).status().message()),
              HasSubstr("more than the 124 bytes of the largest snapshot"));
  EXPECT_EQ(Get({"ann", "2"}), std::string(100, 'x'));
}

TEST_F(DiskStoreTest, IsForOneProcessAtATime) {
  Open();
  const auto second = DiskStore::Open(folder_, 0);
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  Open();
}

// Where a file's size is limited the write breaks off in its midst, as on a full disk.
TEST_F(DiskStoreTest, AWriteThatBreaksOffLeavesTheOldBytes) {
  Open();
  ASSERT_TRUE(Put({"ann", "1"}, "old").ok());
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small = {4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = Put({"ann", "1"}, std::string(10000, 'x'));
  const absl::Status other = Put({"bob", "1"}, std::string(10000, 'x'));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_TRUE(absl::IsResourceExhausted(other)) << other;
  EXPECT_EQ(Get({"ann", "1"}), "old");
  EXPECT_THAT(Files(), ElementsAre("lock", "owner-ann/1.snapshot"));
  EXPECT_TRUE(Put({"ann", "1"}, std::string(10000, 'x')).ok());
}

TEST_F(DiskStoreTest, AFullDiskIsResourceExhaustedAndNothingIsLost) {
  const std::string small = folder_ + "/small";
  ASSERT_EQ(mkdir(small.c_str(), 0700), 0);
  if (mount("retnet", small.c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP()
        << "this user may not mount a small disk; AWriteThatBreaksOffLeavesTheOldBytes covers "
           "a write that runs out of room";
  }
  {
    auto store = DiskStore::Open(small, 0).value();
    EXPECT_TRUE(PutSnapshot(&*store, {"ann", "1"}, std::string(100'000, 'a')).ok());
    for (int i = 0; i < 3; ++i) {
      const absl::Status full = PutSnapshot(&*store, {"ann", "1"}, std::string(200'000, 'b'));
      EXPECT_TRUE(absl::IsResourceExhausted(full)) << full;
      EXPECT_THAT(std::string(full.message()), HasSubstr("No space left"));
    }
    EXPECT_EQ(store->Get({"ann", "1"}).value(), std::string(100'000, 'a'));
    EXPECT_TRUE(store->Delete({"ann", "1"}).ok());
    EXPECT_TRUE(PutSnapshot(&*store, {"ann", "1"}, std::string(200'000, 'b')).ok());
  }
  EXPECT_EQ(umount(small.c_str()), 0);
}

// Its files are root's own: as root the test becomes somebody else for a while.
TEST_F(DiskStoreTest, AFolderThatCannotBeWrittenIsAnErrorAndReadsGoOn) {
  Open();
  ASSERT_TRUE(Put({"ann", "1"}, "x").ok());
  ASSERT_TRUE(Put({"bob", "1"}, "y", absl::Now() - absl::Seconds(1)).ok());
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    fs::permissions(entry.path(), entry.is_directory() ? fs::perms(0555) : fs::perms(0444));
  }
  fs::permissions(folder_, fs::perms(0555));
  const uid_t user = geteuid();
  if (user == 0) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  const absl::Status put = Put({"ann", "1"}, "z");
  const absl::Status other = Put({"cid", "1"}, "z");
  const absl::Status removed = store_->Delete({"ann", "1"});
  const std::string got = Get({"ann", "1"});
  store_ = nullptr;
  const absl::Status opened = DiskStore::Open(folder_, 0).status();
  if (user == 0) {
    ASSERT_EQ(seteuid(user), 0);
  }
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    fs::permissions(entry.path(), fs::perms(0755));
  }
  fs::permissions(folder_, fs::perms(0755));
  EXPECT_TRUE(absl::IsPermissionDenied(put)) << put;
  EXPECT_TRUE(absl::IsPermissionDenied(other)) << other;
  EXPECT_TRUE(absl::IsPermissionDenied(removed)) << removed;
  EXPECT_EQ(got, "x");
  EXPECT_TRUE(absl::IsPermissionDenied(opened)) << opened;
}

TEST(OpenSnapshotStore, TakesWhatItNamesAndNothingElse) {
  const auto none = OpenSnapshotStore("none", 1);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
  const std::string folder = testing::TempDir() + "open_snapshot_store/a/b";
  const auto disk = OpenSnapshotStore("disk:" + folder, 1 << 20);
  ASSERT_TRUE(disk.ok()) << disk.status();
  EXPECT_TRUE(PutSnapshot(disk->get(), {"ann", "1"}, "x").ok());
  EXPECT_TRUE(fs::exists(folder + "/owner-ann/1.snapshot"));
  fs::remove_all(testing::TempDir() + "open_snapshot_store");
  for (const char* spec : {"", "disk:", "disk", "/tmp", "None"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(OpenSnapshotStore(spec, 0).status())) << spec;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(OpenSnapshotStore("none", -1).status()));
}

}  // namespace
}  // namespace retnet
