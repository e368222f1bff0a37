#include "core/arrow/buffer.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#define STREAMLIC_MAPS 1
#endif

namespace streamlic {

namespace {

constexpr size_t kSmallest = 4096;  // Smaller blocks are left to the allocator.
constexpr size_t kClasses = 32;
// From this size on blocks are mapped: a freed one returns to the system at once.
constexpr size_t kMapped = size_t{1} << 17;

// The sanitizers must see every allocation.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kIsKept = false;
#elif defined(__has_feature)
constexpr bool kIsKept = !__has_feature(address_sanitizer);
#else
constexpr bool kIsKept = true;
#endif

// The unused blocks of one size.
struct Unused {
  std::vector<uint8_t*> blocks;
  size_t fewest = 0;  // How many there were at least since the last sweep: nobody needed those.
};

// The unused blocks, by size: a power of two each.
struct Cache {
  std::mutex mutex;
  Unused unused[kClasses];
  size_t bytes = 0;
  size_t taken = 0;  // The bytes taken since the last sweep, from the cache or new.
};

Cache& cache() {
  static Cache* const the_only =
      new Cache;  // Never deleted: batches may live until the process ends.
  return *the_only;
}

uint8_t* new_block(size_t bytes) {
#if defined(STREAMLIC_MAPS)
  if (kIsKept && bytes >= kMapped) {
    void* const block =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) throw std::bad_alloc();
    return static_cast<uint8_t*>(block);
  }
  void* block = nullptr;  // Older versions of macOS lack aligned_alloc.
  if (posix_memalign(&block, 64, bytes) != 0) throw std::bad_alloc();
#else
  void* const block = std::aligned_alloc(64, bytes);
  if (!block) throw std::bad_alloc();
#endif
  return static_cast<uint8_t*>(block);
}

void free_block(uint8_t* block, size_t bytes) {
#if defined(STREAMLIC_MAPS)
  if (kIsKept && bytes >= kMapped) {
    munmap(block, bytes);
    return;
  }
#endif
  std::free(block);
}

unsigned class_of(size_t bytes) {
  unsigned number = 0;
  while ((kSmallest << number) < bytes) {
    ++number;
    if (number == kClasses || !(kSmallest << number)) throw std::bad_alloc();
  }
  return number;
}

// Frees the blocks that nobody needed since the last sweep. Without it, the cache would keep the most
// blocks that were ever needed of each size, and a long export would take more memory than a short one.
void sweep(Cache& cache) {
  for (unsigned number = 0; number < kClasses; ++number) {
    Unused& unused = cache.unused[number];
    for (; unused.fewest; --unused.fewest) {
      free_block(unused.blocks.back(), kSmallest << number);
      unused.blocks.pop_back();
      cache.bytes -= kSmallest << number;
    }
    unused.fewest = unused.blocks.size();
  }
  cache.taken = 0;
}

}  // namespace

uint8_t* take_block(size_t* bytes) {
  if (*bytes >= kSmallest) {
    const unsigned number = class_of(*bytes);
    *bytes = kSmallest << number;
    const std::lock_guard<std::mutex> lock(cache().mutex);
    cache().taken += *bytes;
    if (cache().taken >= kSweepBytes) sweep(cache());
    Unused& unused = cache().unused[number];
    if (!unused.blocks.empty()) {
      uint8_t* const block = unused.blocks.back();
      unused.blocks.pop_back();
      unused.fewest = std::min(unused.fewest, unused.blocks.size());
      cache().bytes -= *bytes;
      return block;
    }
  } else {
    *bytes = (*bytes + 63) & ~size_t{63};
  }
  return new_block(*bytes);
}

void give_back_block(uint8_t* block, size_t bytes) {
  if (kIsKept && bytes >= kSmallest && bytes <= kMostCachedBytes) {
    const std::lock_guard<std::mutex> lock(cache().mutex);
    if (cache().bytes + bytes <= kCacheBytes) {
      try {
        cache().unused[class_of(bytes)].blocks.push_back(block);
        cache().bytes += bytes;
        return;
      } catch (const std::bad_alloc&) {  // The list cannot grow: free the block.
      }
    }
  }
  free_block(block, bytes);
}

}  // namespace streamlic
