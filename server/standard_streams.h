// Standard streams that a process was started without. It knows no folder, so that server and
// client may include it.
#ifndef RETNET_SERVER_STANDARD_STREAMS_H_
#define RETNET_SERVER_STANDARD_STREAMS_H_

#include <fcntl.h>

namespace retnet {

enum class LostOutput {
  kIsNoError,  // it is thrown away
  kIsAnError,  // writing it fails
};

// Opens /dev/null as each of the descriptors 0, 1 and 2 that is closed. Otherwise the next file
// that the process opens gets that number, and what is meant for the terminal is written into it.
// Call this before any file is opened.
inline void ReplaceClosedStreams(LostOutput lost_output) {
  for (int stream = 0; stream <= 2; ++stream) {
    if (fcntl(stream, F_GETFD) >= 0) continue;
    // A new descriptor is the lowest free one: this stream's. Where there is no /dev, any file
    // holds the number.
    const int mode = lost_output == LostOutput::kIsNoError ? O_RDWR : O_RDONLY;
    if (open("/dev/null", mode) < 0 && open("/", O_RDONLY) < 0) return;
  }
}

}  // namespace retnet

#endif  // RETNET_SERVER_STANDARD_STREAMS_H_
