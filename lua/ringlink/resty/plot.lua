--- Small bar charts as inline SVG, with the same figures in words for those who do not see them.
--
-- Pure.

local html = require "ringlink.resty.html"

local M = {}

local WIDTH, HEIGHT, BASE, TOP = 360, 134, 112, 22
local LABEL_EVERY = 6

local SVG = [[
<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{words}">
{{bars}}<line class="axis" x1="0" y1="{base}" x2="{width}" y2="{base}"/>
<text x="0" y="13">{most}</text>
{{labels}}</svg>]]
local BAR = '<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"/>\n'
local LABEL = '<text x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>\n'

local function most(columns)
  local max = 1
  for _, count in ipairs(columns) do max = math.max(max, count) end
  return max
end

local function number(value)
  return ("%.1f"):format(value)
end

local function bars(columns, step, late)
  local parts, max = {}, most(columns)
  for i, count in ipairs(columns) do
    local height = (BASE - TOP) * count / max
    if count > 0 then
      parts[#parts + 1] = html.fill(BAR, { class = late and late[i] and "late" or "bar", x = number((i - 1) * step + 1),
        y = number(BASE - height), width = number(step - 2), height = number(height) })
    end
  end
  return table.concat(parts)
end

local function label(i, step, words, count)
  local last = i == count
  return html.fill(LABEL, { x = number(last and WIDTH or (i - 1) * step), y = BASE + 16,
    anchor = last and "end" or "start", words = words })
end

--- A chart of columns.
---@param columns integer[]
---@param options { words: string, name: (fun(i: integer): string), late: table<integer, boolean>? }
---@return string svg
function M.columns(columns, options)
  local step, labels = WIDTH / #columns, {}
  for i = 1, #columns, LABEL_EVERY do labels[#labels + 1] = label(i, step, options.name(i), #columns) end
  return html.fill(SVG, { width = WIDTH, height = HEIGHT, base = BASE, words = options.words,
    most = ("at most %d an hour"):format(most(columns)),
    bars = bars(columns, step, options.late), labels = table.concat(labels) })
end

return M
