#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace retnet::cpu {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceAndShowsWhatItWrote) {
  for (int32_t threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t tasks : {0, 1, 2, 3, 7, 64, 1000}) {
      for (int repeat = 0; repeat < 20; ++repeat) {
        std::vector<int32_t> runs(tasks, 0);  // plain numbers: Run itself must order the accesses
        pool.Run(tasks, [&](int64_t task, int32_t) { ++runs[task]; });
        EXPECT_EQ(runs, std::vector<int32_t>(tasks, 1)) << threads << " threads, " << tasks;
      }
    }
  }
}

TEST(ThreadPool, GivesTasksThatOverlapDifferentThreads) {
  ThreadPool pool(4);
  std::vector<std::atomic<bool>> busy(4);
  std::atomic<bool> overlapped = false;
  for (int repeat = 0; repeat < 50; ++repeat) {
    pool.Run(64, [&](int64_t, int32_t thread) {
      ASSERT_GE(thread, 0);
      ASSERT_LT(thread, 4);
      if (busy[thread].exchange(true)) overlapped = true;
      std::this_thread::yield();
      busy[thread] = false;
    });
  }
  EXPECT_FALSE(overlapped);
}

TEST(ThreadPool, SpreadsTasksThatWaitForOneAnother) {
  // Each task needs the others to be running: only separate threads get them all done.
  ThreadPool pool(3);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int32_t> arrived = 0;
    pool.Run(3, [&](int64_t, int32_t) {
      ++arrived;
      while (arrived < 3) std::this_thread::yield();
    });
    EXPECT_EQ(arrived, 3);
  }
}

TEST(ThreadPool, WakesWorkersThatSleep) {
  ThreadPool pool(2);
  for (int repeat = 0; repeat < 5; ++repeat) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than workers spin
    std::atomic<int32_t> arrived = 0;
    pool.Run(2, [&](int64_t, int32_t) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    EXPECT_EQ(arrived, 2);
  }
}

TEST(ThreadPool, WaitsForTheSlowestTask) {
  ThreadPool pool(2);
  for (int repeat = 0; repeat < 5; ++repeat) {
    std::vector<int64_t> written(8, 0);
    pool.Run(8, [&](int64_t task, int32_t thread) {
      if (thread != 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      written[task] = task;
    });
    EXPECT_EQ(std::accumulate(written.begin(), written.end(), int64_t{0}), 28);
  }
}

}  // namespace
}  // namespace retnet::cpu
