// Notes the values that do not fit, with their paths.
#pragma once

#include "core/reader/generic/string_index-inl.h"

namespace streamlic::STREAMLIC_ISA {

// A step of the current path. The steps before it are on the call stack, too.
struct PathNode {
  const PathNode* parent;
  RawStep step;
};

inline PathNode node_of(const PathNode* parent, const std::string& name) {
  return {parent, {reinterpret_cast<const uint8_t*>(name.data()), name.size(), 0}};
}

// Notes the value at this path, unless too many are noted.
inline void note(Misfits& misfits, const PathNode* parent, const uint8_t* value,
                 const uint8_t* end) {
  if (unlikely(misfits.list.size() > Misfits::kFew)) return;
  if (likely(parent && !parent->parent)) {
    misfits.steps.push_back(parent->step);
    misfits.list.push_back({1, value, bytes_between(value, end)});
    return;
  }
  const size_t before = misfits.steps.size();
  for (const PathNode* node = parent; node; node = node->parent) {
    misfits.steps.push_back(node->step);
  }
  std::reverse(misfits.steps.begin() + static_cast<std::ptrdiff_t>(before), misfits.steps.end());
  misfits.list.push_back({misfits.steps.size() - before, value, bytes_between(value, end)});
}

}  // namespace streamlic::STREAMLIC_ISA
