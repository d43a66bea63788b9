--- The page's style sheet: one column on a phone, two on a desktop, light and dark.
return [[
:root { color-scheme: light dark; --ink: #17212b; --quiet: #51606f; --paper: #f4f6f8; --card: #ffffff;
  --line: #cfd7df; --accent: #0b5cad; --on-accent: #ffffff; --good: #17663a; --bad: #a3231f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8edf2; --quiet: #a9b6c3; --paper: #11171d; --card: #1b232c; --line: #3a4653;
    --accent: #7db8f5; --on-accent: #0b1a29; --good: #7fd6a3; --bad: #ff9f97; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header, main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
header p { margin: 0; color: var(--quiet); }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
main { display: grid; gap: 1rem; }
section, .account { min-width: 0; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1rem; }
.account { border-top: 1px solid var(--line); padding: 1rem 0 0; margin: 1rem 0 0; }
.account:first-child { border: 0; padding: 0; margin: 0; }
.row { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .5rem 0; }
label { display: inline-flex; flex-wrap: wrap; max-width: 100%; gap: .5rem; align-items: center; min-height: 2.75rem; }
input[type=checkbox] { width: 1.25rem; height: 1.25rem; accent-color: var(--accent); }
input[type=text], input[type=password], input[type=number], select { font: inherit; color: inherit;
  background: var(--card); border: 1px solid var(--quiet); border-radius: .5rem; padding: .5rem .6rem;
  min-height: 2.75rem; max-width: 100%; }
input[type=number] { width: 6rem; }
button { font: inherit; min-height: 2.75rem; padding: .4rem .9rem; border-radius: .5rem; cursor: pointer;
  color: var(--ink); background: transparent; border: 1px solid var(--quiet); }
button.main { background: var(--accent); color: var(--on-accent); border-color: var(--accent); font-weight: 600; }
button.danger { color: var(--bad); border-color: var(--bad); }
button:disabled { opacity: .55; cursor: default; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
a { color: var(--accent); overflow-wrap: anywhere; }
.status { font-weight: 600; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.quiet { color: var(--quiet); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.wide { white-space: normal; overflow-wrap: anywhere; min-width: 10rem; }
[hidden] { display: none !important; }
@media (min-width: 60rem) {
  main { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); align-items: start; }
  .full { grid-column: 1 / -1; }
}
]]
