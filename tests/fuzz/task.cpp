// Any text as a task.json.
#include <merganser/io/models/task_file.hpp>

#include "fuzz.hpp"

namespace merganser::fuzz {

void run(std::string_view text) {
  const auto task = unless_refused([&] { return io::parse_task(text, "task"); });
  if (!task) return;
  for (const auto& id : {task->special.mask, task->special.first_sentinel})
    require(!id || *id >= data::ByteTokenizer::byte_offset, "ids are not those of pads and ends");
  require(!task->noise || (*task->noise >= 0 && *task->noise <= 1), "a share");
  require(!task->window || *task->window >= 1, "a window");
  require(io::parse_task(io::to_json(*task), "again") == *task, "the task comes back");
}

}  // namespace merganser::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  merganser::fuzz::run(merganser::fuzz::as_text(data, size));
  return 0;
}
