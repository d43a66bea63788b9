--- The style of the pages: one card on a phone, the same card in the middle of a desktop, light and
--- dark; the tables and plots of the status page use the whole width.
return [[
:root { color-scheme: light dark; --ink: #1b2733; --quiet: #56646f; --paper: #eef2f5; --card: #ffffff;
  --line: #d5dde4; --accent: #0a5c9e; --accent-strong: #084a80; --on-accent: #ffffff; --tint: #e3eff9;
  --good: #14653a; --good-tint: #e0f2e8; --warn: #7a4a00; --warn-tint: #fdf0d9; --bad: #9b211c;
  --bad-tint: #fbe6e4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9eef3; --quiet: #a8b6c2; --paper: #10161c; --card: #1a222b; --line: #37434f;
    --accent: #8cc4f7; --accent-strong: #b3d8fb; --on-accent: #0a1926; --tint: #16304a;
    --good: #86dba9; --good-tint: #143024; --warn: #f2c46d; --warn-tint: #33270f; --bad: #ffa69f;
    --bad-tint: #3a1a18; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
.page { min-height: 100vh; padding: 1.25rem 1rem 2rem; display: flex; flex-direction: column; align-items: center; }
.brand { margin: 0 0 1.25rem; color: var(--quiet); font-size: .95rem; text-align: center; overflow-wrap: anywhere; }
main { width: 100%; max-width: 30rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: 1.5rem 1.25rem;
  box-shadow: 0 1px 2px rgb(16 24 32 / 6%), 0 8px 24px rgb(16 24 32 / 6%); overflow-wrap: anywhere; }
.card + .card { margin-top: 1rem; }
.badge { display: flex; width: 3.5rem; height: 3.5rem; border-radius: 50%; align-items: center;
  justify-content: center; margin: 0 0 1rem; background: var(--tint); color: var(--accent); }
.badge.good { background: var(--good-tint); color: var(--good); }
.badge.warn { background: var(--warn-tint); color: var(--warn); }
.badge.bad { background: var(--bad-tint); color: var(--bad); }
.badge svg { width: 1.75rem; height: 1.75rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem; letter-spacing: -.01em; text-wrap: balance; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 0 0 .5rem; }
p { margin: 0 0 .85rem; }
.card > :last-child { margin-bottom: 0; }
.identity { font-weight: 600; }
h1 .identity, h2 .identity { font-weight: inherit; }
.note { margin: 1.25rem 0 0; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--quiet);
  font-size: .95rem; }
.state { display: inline-block; padding: .1rem .65rem; border-radius: 1rem; font-size: .9rem; font-weight: 600;
  background: var(--tint); color: var(--accent); }
.state.good { background: var(--good-tint); color: var(--good); }
.state.warn { background: var(--warn-tint); color: var(--warn); }
.state.bad { background: var(--bad-tint); color: var(--bad); }
form { margin: 0; }
label { display: block; margin: 0 0 1rem; font-weight: 600; }
input { display: block; width: 100%; min-height: 3rem; margin-top: .35rem; padding: .5rem .85rem;
  font: inherit; font-weight: 400; color: inherit; background: var(--card);
  border: 1px solid var(--quiet); border-radius: .75rem; }
.alert { margin: 0 0 1rem; padding: .65rem .85rem; border-radius: .65rem; background: var(--bad-tint);
  color: var(--bad); }
.actions { display: flex; flex-direction: column; gap: .65rem; margin-top: 1.35rem; }
button, .button { display: block; width: 100%; min-height: 3rem; padding: .65rem 1.1rem; font: inherit;
  font-weight: 600; line-height: 1.35; text-align: center; text-decoration: none; cursor: pointer;
  color: var(--accent); background: transparent; border: 1px solid var(--line); border-radius: .75rem; }
button.main, .button.main { color: var(--on-accent); background: var(--accent); border-color: var(--accent); }
button.main:hover, .button.main:hover { background: var(--accent-strong); border-color: var(--accent-strong); }
button.danger { color: var(--bad); border-color: currentColor; }
button:hover, .button:hover { border-color: currentColor; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; }
a { color: var(--accent); }
ol, ul { margin: 0 0 .85rem; padding-left: 1.35rem; }
li { margin: 0 0 .35rem; }
.wide main { max-width: 68rem; display: grid; gap: 1rem; }
.wide .card { min-width: 0; }
.wide .card + .card { margin-top: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(8.75rem, 100%), 1fr)); gap: .75rem;
  margin: 0; }
.figures div { padding: .65rem .85rem; background: var(--paper); border-radius: .65rem; min-width: 0; }
.figures dt { color: var(--quiet); font-size: .9rem; }
.figures dd { margin: 0; font-size: 1.4rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.failures { list-style: none; padding: 0; display: grid; gap: 1rem; }
.failures li { margin: 0; padding-top: 1rem; border-top: 1px solid var(--line); }
.failures li:first-child { padding-top: .25rem; border: 0; }
.failures p { margin: .15rem 0; max-width: 46rem; }
h3 { font-size: 1.05rem; margin: 0; }
.quiet { color: var(--quiet); font-size: .95rem; }
figure { margin: 0; }
figcaption { color: var(--quiet); font-size: .95rem; margin-bottom: .5rem; }
.plot { display: block; width: 100%; height: auto; max-height: 14rem; }
.plot .bar { fill: var(--accent); }
.plot .late { fill: var(--bad); }
.plot .axis { stroke: var(--line); }
.plot text { fill: var(--quiet); font-size: 15px; }
@media (min-width: 40rem) {
  .page { padding: 3.5rem 1.5rem; }
  .card { padding: 2rem; }
  .plot text { font-size: 11px; }
  .actions.row { flex-direction: row; flex-wrap: wrap; }
  .actions.row > * { flex: 1 1 8rem; width: auto; }
}
@media (min-width: 60rem) {
  .wide main { grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); }
  .wide .full { grid-column: 1 / -1; }
}
@media (prefers-reduced-motion: no-preference) {
  button, .button { transition: background-color .12s, border-color .12s; }
}
]]
