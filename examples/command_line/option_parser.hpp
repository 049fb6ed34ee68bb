// Tables of options on a command line of CLI11, and help in the width of the terminal.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include <CLI/CLI.hpp>

#include <merganser/core/text_format.hpp>
#include <merganser/runs/option.hpp>
#include <merganser/runs/terminal.hpp>
#include <merganser/runs/terminal_text.hpp>

namespace command_line {

namespace runs = merganser::runs;

inline constexpr int failure_exit = 1, usage_exit = 2;

/// Help whose lines end where the terminal does.
class WrappedHelp : public CLI::Formatter {
 public:
  std::string make_option(const CLI::Option* option, bool is_positional) const override {
    return entry(make_option_name(option, is_positional) + make_option_opts(option), make_option_desc(option));
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string text = CLI::Formatter::make_option_opts(option);
    return option->get_positional() ? "" : text.substr(0, text.find(" Excludes:"));
  }
  std::string make_group(std::string name, bool is_positional, std::vector<const CLI::Option*> options) const override {
    const std::string text = CLI::Formatter::make_group(name, is_positional, options);
    return is_positional || name == "Options" ? text : text.substr(1);  // one empty line between groups, not two
  }
  std::string make_subcommand(const CLI::App* subcommand) const override {
    return entry(subcommand->get_name(), subcommand->get_description());
  }
  std::string make_description(const CLI::App* app) const override { return wrapped_lines(app->get_description()); }
  std::string make_footer(const CLI::App* app) const override { return wrapped_lines(app->get_footer()); }

 private:
  static constexpr std::size_t name_columns = 30, least_columns = 24;

  static std::size_t columns() { return runs::prose_columns(STDOUT_FILENO); }

  /// Every line by itself; those that begin with a space are as they are.
  static std::string wrapped_lines(const std::string& text) {
    std::string result;
    for (const std::string& line : merganser::split(text, '\n'))
      result += line.starts_with(' ') ? line + "\n" : runs::wrapped(line, columns());
    return result;
  }

  /// A name and what it means, beside it or, where that leaves no room, below.
  static std::string entry(const std::string& name, const std::string& meaning) {
    const bool below = columns() < name_columns + least_columns || name.size() + 3 > name_columns;
    const std::size_t indent = columns() < name_columns + least_columns ? 6 : name_columns;
    std::string result = below ? "  " + name + "\n" : merganser::left_aligned("  " + name, indent), margin;
    if (below) margin = std::string(indent, ' ');
    for (const std::string& line : merganser::split(runs::wrapped(meaning, columns() - indent), '\n')) {
      result += margin + line + "\n";
      margin = std::string(indent, ' ');
    }
    return meaning.empty() && !below ? result + "\n" : result;
  }
};

/// Gives an app and the subcommands that it will have help in the width of the terminal.
inline void wrap_help(CLI::App& app) { app.formatter(std::make_shared<WrappedHelp>()); }

/// Puts a table on a command line. What it reads goes where the table says.
/// @param given gets the names of the options on it, if it is not null
inline void add_options(CLI::App& app, const runs::OptionTable& table, std::set<std::string>* given = nullptr) {
  for (const runs::Option& option : table) {
    const auto read = [option, given](const std::string& text) {
      try {
        option.read(text);
      } catch (const std::invalid_argument& error) {
        throw CLI::ValidationError(option.name, error.what());
      }
      if (given != nullptr) given->insert(option.name);
    };
    CLI::Option* added = nullptr;
    if (option.value.empty()) {
      added = app.add_flag_function(
          option.name, [read](std::int64_t) { read(""); }, option.help);
    } else if (option.values == runs::OptionValues::one) {
      added = app.add_option_function<std::string>(option.name, read, option.help);
    } else {
      using Texts = std::vector<std::string>;
      const auto read_all = [read](const Texts& texts) { std::for_each(texts.begin(), texts.end(), read); };
      added = app.add_option_function<Texts>(option.name, read_all, option.help);
      if (option.values == runs::OptionValues::repeated) added->allow_extra_args(false);
    }
    if (!option.value.empty()) added->option_text(option.value);
    if (!option.group.empty()) added->group(option.group);
  }
  for (const runs::Option& option : table)
    for (const std::string& other : option.excludes) app.get_option(option.name)->excludes(app.get_option(other));
}

/// One line on stderr, whatever the message holds. Returns the exit code.
inline int fail(std::string_view program, std::string_view message, int exit_code) {
  std::cerr << program << ": " << runs::one_line(message) << std::endl;
  return exit_code;
}

/// Runs a program, and says in one line what went wrong.
/// @param job returns the exit code
template <class Job>
int run_program(std::string_view program, const Job& job) {
  try {
    const int result = job();
    std::cout.flush();
    if (!std::cout && !runs::reader_left()) return fail(program, "cannot write to standard output", failure_exit);
    return result;
  } catch (const CLI::ParseError& error) {
    return fail(program, error.what(), usage_exit);
  } catch (const std::bad_alloc&) {
    return fail(program, "not enough memory for this model or text", failure_exit);
  } catch (const std::exception& error) {
    return fail(program, error.what(), failure_exit);
  }
}

}  // namespace command_line
