// Reads records straight into columns: the inner loop. Compiled once for each instruction set.
#pragma once

#include "core/reader/generic/keys-inl.h"
#include "core/reader/generic/misfit_notes-inl.h"
#include "core/reader/generic/values-inl.h"

namespace streamlic::STREAMLIC_ISA {

class Reader final : public RecordReader {
 public:
  explicit Reader(const Schema& schema) : RecordReader(schema) {}

  RecordsRead read(const uint8_t* text, const uint8_t* end, std::vector<ColumnBuilder>& columns,
                   int64_t row, int depth, const RowBudget& budget) override {
    lexer().index.open(text, end);
    lexer().stop = Stop::None;
    lexer().has_unpaired = false;
    values_.is_misfit = false;
    misfits_.clear();
    plain_rows_ = 0;
    begin_ = text;
    const uint8_t* last_end = nullptr;
    try {
      last_end = records(columns, row, depth, budget);
    } catch (const CapacityExceeded&) {
      lexer().stop = Stop::NoRoom;
    }
    misfits_.has_unpaired = lexer().has_unpaired;
    return {last_end, lexer().stop, begin_, plain_rows_};
  }

  ValueSkipped skip(const uint8_t* text, const uint8_t* end, int depth) override {
    lexer().index.open(text, end);
    lexer().stop = Stop::None;
    const uint8_t* const value_end = values_.skip_value(text, depth);
    return {value_end, lexer().stop};
  }

  void forget() override { lexer().index.forget(); }

 private:
  Lexer& lexer() { return values_.lexer; }
  const Lexer& lexer() const { return values_.lexer; }

  // Reads from `begin_` on; returns where the last record ends, or null.
  const uint8_t* records(std::vector<ColumnBuilder>& columns, int64_t row, int depth,
                         const RowBudget& budget) {
    make_room(columns, row);
    if (record_column_ != kNone) return whole_record(columns[record_column_], Row(row), depth);
    if (begin_ == lexer().end()) return lexer().at_end();
    if (*begin_ != '{') {
      const uint8_t* const end = values_.skip_value(begin_, depth);
      if (end) note(misfits_, nullptr, begin_, end);
      return end;
    }
    if (depth <= 0) return lexer().refused();
    while (true) {
      const uint8_t* const end =
          object(begin_, plan_, columns, Row(row + plain_rows_), depth, nullptr);
      if (unlikely(!end || !may_continue(end, budget))) return end;
      misfits_.is_sure = true;
      lexer().has_unpaired = false;
      begin_ = end + 1;
      ++plain_rows_;
      make_room(columns, row + plain_rows_);
    }
  }

  const uint8_t* whole_record(ColumnBuilder& column, const Row& row, int depth) {
    const uint8_t* const end = values_.skip_value(begin_, depth);
    if (end) put_json(column, row, begin_, bytes_between(begin_, end), lexer().has_unpaired);
    return end;
  }

  // Whether the record that ends here is a plain row, and the budget allows the next one.
  STREAMLIC_ALWAYS_INLINE bool may_continue(const uint8_t* end, const RowBudget& budget) const {
    return misfits_.list.empty() && plain_rows_ < budget.rows && end < budget.before &&
           end - begin_ <= budget.record_bytes && lexer().end() - end > 1 && end[0] == ',' &&
           end[1] == '{';
  }

  // All columns grow together.
  STREAMLIC_ALWAYS_INLINE static void make_room(std::vector<ColumnBuilder>& columns, int64_t row) {
    if (likely(row < columns.front().capacity())) return;
    for (ColumnBuilder& column : columns) column.make_room(row + 1);
  }

  // Inlined into the loop over records; `inner_object` reads the objects within them.
  STREAMLIC_ALWAYS_INLINE const uint8_t* object(const uint8_t* at, Plan& plan,
                                                std::vector<ColumnBuilder>& columns, const Row& row,
                                                int depth, const PathNode* parent) {
    ColumnBuilder* const first_column = columns.data();
    Key* previous = &plan.keys.before_first();
    uint8_t last_unknown = 0;  // since then
    uint64_t seen = 0;
    while (true) {
      const uint8_t* const begin = ++at;  // after the brace, or a comma
      Key* key = previous->next;
      if (likely(lexer().index.is_padded(begin) && matches(begin, key->pattern))) {
        previous->hit();
        at = begin + key->pattern.size;
      } else if (likely(lexer().index.is_padded(begin) &&
                        matches(begin, (key = candidate(lexer(), begin, plan.keys))->pattern))) {
        previous->miss(key);
        at = begin + key->pattern.size;
      } else if (const uint8_t next = plan.unknown_after(*previous, last_unknown);
                 is_unknown(lexer(), begin, plan.unknown[next])) {
        last_unknown = next;
        at = unknown_members(begin, plan.unknown, &last_unknown, depth - 1, parent);
        goto value_end;
      } else {
        at = lexer().next(begin);
        if (unlikely(at == lexer().end())) return lexer().at_end();
        if (*at == '}' && begin[-1] == '{') return at + 1;
        if (*at != '"') return lexer().refused();
        const uint8_t* const name = at + 1;
        at = any_key(begin, name, plan.keys, &key);
        if (unlikely(!at)) return nullptr;
        if (unlikely(at == lexer().end())) return lexer().at_end();
        if (!key) {
          remember_unknown(lexer(), begin, name, at, plan, *previous, &last_unknown);
          at = unknown(name, at, depth - 1, parent);
          goto value_end;
        }
        previous->miss(key);
      }
      {
        const uint8_t* const value_begin = at;
        ColumnBuilder& column = first_column[key->column];
        if (unlikely(seen & key->bit)) repeat(column, row);
        seen |= key->bit;
        previous = key;
        last_unknown = 0;
        at = value(at, column, plan, key, row, depth, parent);
        if (unlikely(values_.is_misfit)) {
          note_column(plan.keys.name(key), parent, lexer().next(value_begin), at);
        }
      }
    value_end:
      if (unlikely(!at)) return nullptr;
      if (likely(at < lexer().end() && *at == ',')) continue;
      at = lexer().next(at);
      if (unlikely(at == lexer().end())) return lexer().at_end();
      if (*at == ',') continue;
      return likely(*at == '}') ? at + 1 : lexer().refused();
    }
  }

  STREAMLIC_NOINLINE const uint8_t* inner_object(const uint8_t* at, Plan& plan,
                                                 std::vector<ColumnBuilder>& columns,
                                                 const Row& row, int depth,
                                                 const PathNode* parent) {
    return object(at, plan, columns, row, depth, parent);
  }

  // Skips the unknown member at `begin`, and those after it as long as they are predicted, and notes them.
  // `*number` is that of its key, and becomes that of the last one.
  STREAMLIC_NOINLINE const uint8_t* unknown_members(const uint8_t* begin, UnknownKeys& keys,
                                                    uint8_t* number, int depth,
                                                    const PathNode* parent) {
    while (true) {
      const UnknownKey& key = keys[*number];
      const uint8_t* const name = begin + key.name_begin;
      const uint8_t* value = begin + key.pattern.size;
      const uint8_t* at;
      if (likely(*value == '"')) {
        at = lexer().string_rest(value + 1);
      } else {
        value = lexer().next(value);  // There may be more white space than last time.
        at = values_.skip_value(value, depth);
      }
      if (unlikely(!at)) return nullptr;
      const PathNode node{parent, {name, key.name_size, 0}};
      note(misfits_, &node, value, at);
      if (at == lexer().end() || *at != ',') return at;
      begin = at + 1;
      if (!is_unknown(lexer(), begin, keys[key.next])) return at;
      *number = key.next;
    }
  }

  // Skips the value of an unknown key, and notes it.
  STREAMLIC_NOINLINE const uint8_t* unknown(const uint8_t* name, const uint8_t* begin, int depth,
                                            const PathNode* parent) {
    const uint8_t* const at = values_.skip_value(begin, depth);
    // With escapes in the key this size is wrong, but then the misfits are not sure.
    const PathNode node{parent, {name, bytes_between(name, lexer().index.terminator(name)), 0}};
    if (at) note(misfits_, &node, begin, at);
    return at;
  }

  // The key repeats: the last one counts.
  STREAMLIC_NOINLINE void repeat(ColumnBuilder& column, const Row& row) {
    misfits_.is_sure = false;
    column.truncate(row.index);
  }

  STREAMLIC_NOINLINE void note_column(const std::string& name, const PathNode* parent,
                                      const uint8_t* value, const uint8_t* end) {
    values_.is_misfit = false;
    const PathNode node = node_of(parent, name);
    if (end) note(misfits_, &node, value, end);
  }

  // Reads any key, from after its quote to its value, and remembers the pattern that begins at `begin`.
  // Sets `*key` to null for an unknown key.
  STREAMLIC_NOINLINE const uint8_t* any_key(const uint8_t* begin, const uint8_t* name, Keys& keys,
                                            Key** key) {
    const uint8_t* const terminator = lexer().index.terminator(name);
    if (terminator == lexer().end()) return lexer().at_end();
    const uint8_t* at = terminator + 1;
    const bool is_plain = *terminator == '"';
    if (is_plain) {
      *key = plain_key(lexer(), name, bytes_between(name, terminator), keys);
    } else {
      at = lexer().string_slow(terminator);
      if (unlikely(!at)) return nullptr;
      misfits_.is_sure = false;
      values_.scratch = key_of(name - 1, bytes_between(name, at) + 1);
      *key = keys.find(reinterpret_cast<const uint8_t*>(values_.scratch.data()),
                       values_.scratch.size());
    }
    at = lexer().next(at);
    if (unlikely(at == lexer().end())) return lexer().at_end();
    if (*at != ':') return lexer().refused();
    at = lexer().next(at + 1);
    if (is_plain && *key) remember(lexer(), begin, at, &(*key)->pattern);
    return at;
  }

  // Reads the value at `at`, fast if it has the column's type. `depth` brackets may be open, with those of
  // the record.
  STREAMLIC_ALWAYS_INLINE const uint8_t* value(const uint8_t* at, ColumnBuilder& column, Plan& plan,
                                               const Key* key, const Row& row, int depth,
                                               const PathNode* parent) {
    const uint8_t* end = nullptr;
    switch (key->kind) {
      case Kind::String:
        if (likely(*at == '"')) return values_.string_value(at, column, row);
        break;
      case Kind::Int64:
        if (likely(begins_number(*at))) return values_.int64_value(at, column, row);
        break;
      case Kind::Bool:
        end = values_.bool_value(at, column, row);
        if (likely(end)) return end;
        break;
      case Kind::Double:
        if (likely(begins_number(*at))) return values_.double_value(at, column, row);
        break;
      case Kind::Timestamp:
        if (likely(*at == '"')) return values_.timestamp_value(at, column, row);
        break;
      case Kind::Json:
        if (likely(*at > ' ')) return values_.json_value(at, column, row, depth - 1);
        break;
      case Kind::Struct:
        if (likely(*at == '{')) return struct_value(at, column, plan, key, row, depth - 1, parent);
        break;
      case Kind::List:
        if (likely(*at == '[')) return list_value(at, column, plan, key, row, depth - 1, parent);
        break;
      default:
        __builtin_unreachable();  // No key means a column of another kind.
    }
    return unusual_value(at, column, plan, key, row, depth, parent);
  }

  // A value after more white space than last time, of another type, or cut.
  STREAMLIC_NOINLINE const uint8_t* unusual_value(const uint8_t* at, ColumnBuilder& column,
                                                  Plan& plan, const Key* key, const Row& row,
                                                  int depth, const PathNode* parent) {
    if (*at <= ' ') {
      at = lexer().after_space(at);
      if (unlikely(at == lexer().end())) return lexer().at_end();
      return *at > ' ' ? value(at, column, plan, key, row, depth, parent) : lexer().refused();
    }
    if (column.kind() == Kind::String && begins_number(*at)) {
      return values_.digits_value(at, column, row);
    }
    if (column.kind() == Kind::Bool && (*at == 't' || *at == 'f')) {
      const bool is_true = *at == 't';
      at = is_true ? lexer().true_(at) : lexer().false_(at);
      if (at) column.put_bool(row, is_true);
      return at;
    }
    return values_.other_value(at, depth - 1);
  }

  STREAMLIC_NOINLINE const uint8_t* struct_value(const uint8_t* at, ColumnBuilder& column,
                                                 Plan& plan, const Key* key, const Row& row,
                                                 int depth, const PathNode* parent) {
    const PathNode node = node_of(parent, plan.keys.name(key));
    return members(at, column, plan.children[key->column], row, depth, node);
  }

  const uint8_t* members(const uint8_t* at, ColumnBuilder& column, Plan& plan, const Row& row,
                         int depth, const PathNode& parent) {
    if (unlikely(depth == 0)) return lexer().refused();
    column.open(row);
    return inner_object(at, plan, column.children(), row, depth, &parent);
  }

  STREAMLIC_NOINLINE const uint8_t* list_value(const uint8_t* at, ColumnBuilder& column, Plan& plan,
                                               const Key* key, const Row& row, int depth,
                                               const PathNode* parent) {
    if (unlikely(depth == 0)) return lexer().refused();
    const PathNode list = node_of(parent, plan.keys.name(key));
    Plan& inner = plan.children[key->column];
    column.open_offsets(row);
    at = lexer().next(at + 1);
    if (unlikely(at == lexer().end())) return lexer().at_end();
    if (*at == ']') {
      column.end_list(row);
      return at + 1;
    }
    ColumnBuilder& structs = column.children()[0];
    PathNode node{&list, {nullptr, 0, 0}};
    while (true) {
      const uint8_t* const begin = at;
      const Row element(column.next_element());
      at = *at == '{' ? members(at, structs, inner, element, depth - 1, node)
                      : values_.other_value(at, depth - 1);
      if (unlikely(!at)) return nullptr;
      if (unlikely(values_.is_misfit)) {
        values_.is_misfit = false;
        note(misfits_, &node, begin, at);
      }
      ++node.step.index;
      at = lexer().next(at);
      if (unlikely(at == lexer().end())) return lexer().at_end();
      if (*at == ']') break;
      if (*at != ',') return lexer().refused();
      at = lexer().next(at + 1);
      if (unlikely(at == lexer().end())) return lexer().at_end();
    }
    column.end_list(row);
    return at + 1;
  }

  const uint8_t* begin_ = nullptr;  // of the current record
  int64_t plain_rows_ = 0;          // the records before it
  ValueReader values_;
};

// The only function here that is not inline: one file for each instruction set includes it.
// NOLINTNEXTLINE(misc-definitions-in-headers)
std::unique_ptr<RecordReader> make_record_reader(const Schema& schema) {
  return std::make_unique<Reader>(schema);
}

}  // namespace streamlic::STREAMLIC_ISA
