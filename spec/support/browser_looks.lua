--- Whether a page reads well: on a phone and a desktop, by day and by night, with large letters, by a screen reader.
--
--   local looks = browser_looks.new()
--   looks:inspect(surfer, "expired")      -- raises all that is wrong with the page it shows
--
-- With RINGLINK_SCREENSHOTS=DIRECTORY every page that is inspected is photographed too: NAME.WIDTH.SCHEME.png.

local core = require "ringlink.core"
local shell = require "support.shell"

local M = {}

local Looks = {}
Looks.__index = Looks

local SCREENS = { { width = 390, scale = 2 }, { width = 1280, scale = 1 } }
local SCHEMES = { "light", "dark" }
local NARROW = { 320, 390, 1280 }
local HEIGHT, HEIGHT_MAX = 760, 6000

-- What does not depend on the screen: language, title, headings, landmarks, names, labels.
local STRUCTURE = [[
const wrong = [], all = (css) => [...document.querySelectorAll(css)], seen = (node) => node.checkVisibility();
if (document.documentElement.lang !== "en") wrong.push("no language");
if (!document.title.trim()) wrong.push("no title");
if (all("main").length !== 1) wrong.push("not one <main>");
const headings = all("h1,h2,h3,h4,h5,h6").filter(seen);
if (headings.filter((node) => node.tagName === "H1").length !== 1) wrong.push("not one <h1>");
let level = 0;
for (const node of headings) {
  const own = Number(node.tagName[1]);
  if (own > level + 1) wrong.push("a heading skips a level: " + node.innerText);
  if (!node.innerText.trim()) wrong.push("an empty heading");
  level = own;
}
for (const node of all("input:not([type=hidden]),select,textarea").filter(seen))
  if (!node.labels.length && !node.getAttribute("aria-label")) wrong.push("a field without a label: " + node.name);
for (const node of all("a[href],button").filter(seen))
  if (!node.innerText.trim() && !node.getAttribute("aria-label")) wrong.push("something to press without a name");
const ids = all("[id]").map((node) => node.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push("an id twice: " + id);
for (const node of all("[aria-labelledby]"))
  for (const id of node.getAttribute("aria-labelledby").split(/\s+/))
    if (!document.getElementById(id)) wrong.push("aria-labelledby leads nowhere: " + id);
for (const node of all("img")) if (!node.hasAttribute("alt")) wrong.push("a picture without words");
return wrong;
]]

-- What is too wide, and what is too small for a thumb. A region that scrolls by itself may be wider inside.
local ROOM = [[
const wrong = [], root = document.documentElement, width = root.clientWidth, all = (css) =>
  [...document.querySelectorAll(css)].filter((node) => node.checkVisibility());
if (root.scrollWidth > width) {
  const wide = all("body *").filter((node) => node.getBoundingClientRect().right > width + 1).slice(-1)[0];
  wrong.push("scrolls sideways: " + root.scrollWidth + " > " + width + " by " + (wide && wide.outerHTML.slice(0, 120)));
}
for (const node of all("button,.button,input:not([type=hidden]),select")) {
  const box = (node.type === "checkbox" && node.labels[0] || node).getBoundingClientRect();
  if (box.height < 44 || box.width < 44) wrong.push("small: " + node.outerHTML.slice(0, 120) + " is " + box.width
    + " x " + box.height);
}
for (const node of all("p,dt,dd,h1,h2,h3,button,td,label,figcaption"))
  if (node.scrollWidth > node.clientWidth + 1 && getComputedStyle(node).overflowX !== "visible")
    wrong.push("cut off: " + node.innerText.slice(0, 60));
return wrong;
]]

-- The contrast of each text against what lies behind it, as WCAG 2 has it.
local CONTRAST = [[
const wrong = new Set(), walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const parse = (text) => { const n = text.match(/[\d.]+/g).map(Number);
  return /^color\(srgb/.test(text) ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1]; };
const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
const light = (c) => { const l = c.slice(0, 3).map((v) => v / 255).map((v) =>
  v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
const behind = (node) => {
  const layers = [];
  for (let at = node; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
};
while (walker.nextNode()) {
  const text = walker.currentNode, node = text.parentElement;
  const unseen = /^(STYLE|SCRIPT|NOSCRIPT|OPTION|TITLE)$/.test(node.tagName) || !node.checkVisibility();
  if (unseen || !text.data.trim()) continue;
  const style = getComputedStyle(node), back = behind(node);
  const ink = over(parse(node instanceof SVGElement ? style.fill : style.color), back);
  const [a, b] = [light(ink), light(back)], ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (!node.closest(":disabled") && ratio < 4.5)
    wrong.add("hard to read (" + ratio.toFixed(2) + "): " + text.data.trim().slice(0, 60));
}
return [...wrong];
]]

--- An inspector.
function M.new()
  return setmetatable({ directory = os.getenv("RINGLINK_SCREENSHOTS") }, Looks)
end

local function screen(who, width, height, scale)
  who.driver:cdp("Emulation.setDeviceMetricsOverride",
    { width = width, height = height or HEIGHT, deviceScaleFactor = scale or 1, mobile = false })
end

local function scheme(who, name)
  who.driver:cdp("Emulation.setEmulatedMedia", { features = { { name = "prefers-color-scheme", value = name },
    { name = "prefers-reduced-motion", value = "reduce" } } })
end

local function photograph(self, who, name, at, scheme_name)
  screen(who, at.width, HEIGHT, at.scale)
  local height = who.driver:run("return document.documentElement.scrollHeight")
  screen(who, at.width, math.min(math.max(height, HEIGHT), HEIGHT_MAX), at.scale)
  local data = who.driver:cdp("Page.captureScreenshot").data
  shell.write(("%s/%s.%d.%s.png"):format(self.directory, name, at.width, scheme_name), core.base64_decode(data))
end

local function add(wrong, list, where)
  for _, one in ipairs(list) do wrong[#wrong + 1] = one .. " (" .. where .. ")" end
end

local function look_at_room(who, wrong)
  for _, width in ipairs(NARROW) do
    screen(who, width)
    add(wrong, who.driver:run(ROOM), width .. " wide")
  end
  screen(who, NARROW[1])
  who.driver:run("document.documentElement.style.fontSize = '200%'")
  add(wrong, who.driver:run(ROOM), "large letters, " .. NARROW[1] .. " wide")
  who.driver:run("document.documentElement.style.fontSize = ''")
end

--- Looks at a page from all sides; raises what is wrong with it.
---@param who support.Surfer
---@param name string of the page, for the photographs
function Looks:inspect(who, name)
  local wrong = {}
  add(wrong, who.driver:run(STRUCTURE), "structure")
  look_at_room(who, wrong)
  for _, scheme_name in ipairs(SCHEMES) do
    scheme(who, scheme_name)
    add(wrong, who.driver:run(CONTRAST), scheme_name)
    if self.directory then
      for _, at in ipairs(SCREENS) do photograph(self, who, name, at, scheme_name) end
    end
  end
  scheme(who, "")
  who.driver:cdp("Emulation.clearDeviceMetricsOverride")
  assert(#wrong == 0, name .. ":\n  " .. table.concat(wrong, "\n  "))
end

return M
