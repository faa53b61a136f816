#include "kernels/serial_executor.h"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace retnet {
namespace {

// Stops whoever waits for it until it is opened.
class Gate {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

// Opens the gate when the test's thread has most likely come to what must wait. If it has not, the
// test passes as well.
void OpenSoon(Gate& gate) {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  gate.Open();
}

TEST(SerialExecutor, RunsTasksInTheirOrderOnOneThread) {
  SerialExecutor executor;
  Gate gate;
  executor.Post([&] { gate.Wait(); });  // so that tasks queue up
  std::vector<int> order;               // plain: the executor itself must order the accesses
  std::thread::id thread;
  for (int i = 0; i < 1000; ++i) {
    executor.Post([&, i] {
      if (i == 0) thread = std::this_thread::get_id();
      EXPECT_EQ(std::this_thread::get_id(), thread);
      order.push_back(i);
    });
  }
  gate.Open();
  executor.Wait();
  std::vector<int> expected(1000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
  EXPECT_NE(thread, std::this_thread::get_id());
}

TEST(SerialExecutor, TakesTasksFromManyThreads) {
  SerialExecutor executor;
  int sum = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 250; ++i) executor.Post([&] { ++sum; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  executor.Wait();
  EXPECT_EQ(sum, 1000);
}

// Two tasks never run at once, and Wait is not over before what runs is.
TEST(SerialExecutor, WaitReturnsWhenTasksAreOverAndWhatTheyHeldIsGone) {
  SerialExecutor executor;
  executor.Wait();  // nothing was posted
  Gate begun;
  Gate gate;
  auto held = std::make_shared<int>(7);
  const std::weak_ptr<int> watched = held;
  bool ran = false;
  executor.Post([&, held = std::move(held)] {
    begun.Open();
    gate.Wait();
    ran = *held == 7;
  });
  begun.Wait();
  std::thread opener([&] { OpenSoon(gate); });
  executor.Wait();
  EXPECT_TRUE(ran);
  EXPECT_TRUE(watched.expired());
  opener.join();
}

TEST(SerialExecutor, TakesTasksThatCannotBeCopiedAndThatPost) {
  SerialExecutor executor;
  Gate gate;
  int result = 0;
  executor.Post([&, number = std::make_unique<int>(5)] {
    executor.Post([&, number = *number] {
      result = number;
      gate.Open();
    });
  });
  gate.Wait();
  executor.Wait();
  EXPECT_EQ(result, 5);
}

TEST(SerialExecutor, TheDestructorRunsWhatIsPosted) {
  Gate gate;
  int ran = 0;
  std::thread opener;
  {
    SerialExecutor executor;
    executor.Post([&] { gate.Wait(); });
    for (int i = 0; i < 10; ++i) executor.Post([&] { ++ran; });
    opener = std::thread([&] { OpenSoon(gate); });
  }
  EXPECT_EQ(ran, 10);
  opener.join();
}

}  // namespace
}  // namespace retnet
