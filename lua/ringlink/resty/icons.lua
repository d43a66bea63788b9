--- The pages' pictures: inline, in the colour of the text around them, and silent for screen readers.

local function icon(body)
  return '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" '
    .. 'stroke-linejoin="round" aria-hidden="true" focusable="false">' .. body .. "</svg>"
end

return {
  link = icon('<path d="M9.5 14.5l5-5"/><path d="M11 6.5l1.6-1.6a4.2 4.2 0 0 1 6 6L17 12.5"/>'
    .. '<path d="M13 17.5l-1.6 1.6a4.2 4.2 0 0 1-6-6L7 11.5"/>'),
  check = icon '<path d="M5 12.5l4.5 4.500L19 7.5"/>',
  clock = icon '<circle cx="12" cy="12" r="8.5"/><path d="M12 7.5V12l3 2"/>',
  person = icon '<circle cx="12" cy="8.5" r="3.5"/><path d="M5 19.5c1-3.5 4-5 7-5s6 1.5 7 5"/>',
  alert = icon '<path d="M12 4l9 15.5H3z"/><path d="M12 10v4"/><path d="M12 16.8v.1"/>',
  pause = icon '<path d="M9 6.5v11"/><path d="M15 6.5v11"/>',
}
