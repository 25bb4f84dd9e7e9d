/** The rules of the style sheet of the pages, which is deployed beside the Worker. What they are made of is in sheet.ts. */
export const RULES = `*,*::before,*::after{box-sizing:border-box}
[hidden]{display:none!important}
html{-webkit-text-size-adjust:100%;background:var(--page)}
body{margin:0;min-height:100vh;min-height:100svh;display:flex;flex-direction:column;background:var(--page);color:var(--ink);font:1rem/1.5 var(--font);-webkit-font-smoothing:antialiased}
.top{display:flex;align-items:center;gap:.75rem;width:100%;max-width:26.5rem;margin:0 auto;padding:clamp(2rem,9vh,6rem) 1.25rem 1.5rem}
.wide .top{max-width:46rem;padding-top:2rem}
.mark{flex:none;display:grid;place-items:center;width:2.25rem;height:2.25rem;border-radius:var(--round);background:var(--accent);color:var(--on-accent);font-weight:650}
.mark img{display:block;max-width:100%;max-height:100%;border-radius:inherit}
.name{flex:1;min-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;font-weight:600}
main{width:100%;max-width:26.5rem;margin:0 auto;padding:0 1.25rem 2rem;display:grid;gap:1.25rem}
.wide main{max-width:46rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:var(--radius);box-shadow:var(--shadow);padding:2.25rem 2.25rem 2.5rem}
.wide .card{padding:1.75rem 2rem}
h1{margin:0;font-size:1.5rem;line-height:1.25;font-weight:650;letter-spacing:-.015em;text-wrap:balance}
h2{margin:0;font-size:1.0625rem;line-height:1.35;font-weight:600}
p{margin:0;overflow-wrap:anywhere}
.lead{margin-top:.5rem;color:var(--soft)}
a{color:var(--accent);text-underline-offset:.2em;text-decoration-thickness:1px}
a:hover{text-decoration-thickness:2px}
form{display:grid;gap:var(--gap)}
.lead+form,h1+form,h1+.facts,.lead+.facts,.facts+form,h2+form,.note+form,.row+form,.alert+form,h2+.rows,.lead+.rows,.row+.rows{margin-top:1.5rem}
.card>form+form,.card>form+.button{margin-top:.75rem}
.card>.button{width:100%}
.field{display:grid;gap:.4375rem;min-width:0}
.above{display:flex;justify-content:space-between;align-items:baseline;gap:1rem}
label,legend{font-size:.9375rem;font-weight:550}
.above a,.hint,.rules{font-size:.875rem}
.hint,.rules{color:var(--soft)}
input:not([type=checkbox]),select{width:100%;height:var(--high);padding:0 .875rem;border:1px solid var(--edge);border-radius:var(--round);background:var(--field);color:inherit;font:inherit;transition:border-color .15s,box-shadow .15s}
input[type=checkbox]{flex:none;width:1.125rem;height:1.125rem;margin:.1875rem 0 0;accent-color:var(--accent)}
input:focus-visible,select:focus-visible{border-color:var(--accent);outline:2px solid var(--accent);outline-offset:1px}
a:focus-visible,button:focus-visible,summary:focus-visible,[type=checkbox]:focus-visible,.scroll:focus-visible{outline:3px solid var(--accent);outline-offset:2px;border-radius:.375rem}
[aria-invalid=true]{border-color:var(--bad)!important}
.wrong{display:flex;gap:.375rem;font-size:.875rem;color:var(--bad)}
.wrong::before{content:"!";flex:none;display:inline-grid;place-items:center;width:1.0625rem;height:1.0625rem;margin-top:.125rem;border-radius:50%;background:var(--bad);color:var(--card);font-size:.75rem;font-weight:700}
.secret{position:relative}
.secret input{padding-right:5.5rem!important}
.secret button{position:absolute;inset:.3125rem .3125rem .3125rem auto;height:auto;min-height:0;padding:0 .75rem;border:0;background:none;color:var(--soft);font-size:.875rem;font-weight:550}
.secret button:hover{color:var(--ink);background:var(--page)}
.check{display:flex;gap:.625rem;align-items:flex-start}
.check label,label.check{font-weight:400}
button,.button{display:inline-flex;align-items:center;justify-content:center;gap:.625rem;min-height:var(--high);padding:0 1.25rem;border:1px solid transparent;border-radius:var(--round);background:var(--accent);color:var(--on-accent);font:inherit;font-weight:600;text-decoration:none;cursor:pointer;transition:filter .15s,background .15s}
button:hover{filter:brightness(1.08)}
button:active{filter:brightness(.94)}
button:focus-visible{border-radius:var(--round)}
.quiet{background:none;border-color:var(--line);color:var(--ink);font-weight:550}
.quiet:hover{background:var(--page);filter:none}
.danger{color:var(--bad)}
.small{min-height:2.25rem;padding:0 .875rem;font-size:.9375rem}
[aria-busy=true]{cursor:progress;opacity:.75}
[aria-busy=true]::before{content:"";width:1em;height:1em;border:2px solid;border-right-color:transparent;border-radius:50%;animation:turn .8s linear infinite}
@keyframes turn{to{transform:rotate(1turn)}}
.rules{margin:.125rem 0 0;padding:0;list-style:none;display:grid;gap:.1875rem}
.rules li{display:flex;gap:.5rem}
.rules li::before{content:"";flex:none;width:.4375rem;height:.4375rem;margin:.45rem .28rem 0;border-radius:50%;background:var(--edge)}
.rules li.met{color:var(--good)}
.rules li.met::before{content:"\\2713";width:1rem;height:auto;margin:0;background:none;font-weight:700}
.alert,.note{border-radius:var(--round);padding:.875rem 1rem;font-size:.9375rem}
h1+.alert,h1+.note,.lead+.alert,.lead+.note,h2+.alert{margin-top:1.25rem}
.alert{background:var(--bad-back);border:1px solid color-mix(in srgb,var(--bad) 35%,transparent);color:var(--bad)}
.alert a{color:inherit}
.alert ul{margin:.25rem 0 0;padding-left:1.125rem}
.alert:focus{outline:none}
.note{background:var(--good-back);border:1px solid color-mix(in srgb,var(--good) 30%,transparent);color:var(--good)}
.more{padding:0 .25rem;text-align:center;color:var(--soft);font-size:.9375rem;display:grid;gap:.5rem}
.tabs{display:flex;flex-wrap:wrap;gap:0 1.5rem;border-bottom:1px solid var(--line)}
.tabs a{white-space:nowrap;padding:.5rem 0 .75rem;margin-bottom:-1px;color:var(--soft);text-decoration:none;border-bottom:2px solid transparent;font-weight:550}
.tabs a:hover{color:var(--ink)}
.tabs [aria-current]{color:var(--ink);border-color:var(--accent)}
.rows{margin:0;padding:0;list-style:none}
.rows>li,.row{display:flex;align-items:center;justify-content:space-between;gap:1rem}
.rows>li{padding:1rem 0;border-top:1px solid var(--line)}
.rows>li:first-child{border-top:0;padding-top:0}
.rows>li:last-child{padding-bottom:0}
.rows form,.row form{flex:none;margin:0}
.row{flex-wrap:wrap}
.what{min-width:0;overflow-wrap:anywhere}
.what b,.what strong{font-weight:600}
.pill{display:inline-block;margin-left:.5rem;padding:.0625rem .5rem;border-radius:1rem;background:var(--good-back);color:var(--good);font-size:.8125rem;font-weight:550}
.facts{margin:0;display:grid;grid-template-columns:auto 1fr;gap:.5rem 1.5rem}
.facts dt{color:var(--soft)}
.facts dd{margin:0;min-width:0;overflow-wrap:anywhere}
.links{display:flex;flex-wrap:wrap;gap:.625rem;margin-top:1.5rem}
code,.code{font-family:var(--mono);font-size:.9375rem;overflow-wrap:anywhere}
.code{display:block;padding:.875rem 1rem;border:1px solid var(--line);border-radius:var(--round);background:var(--page);user-select:all}
fieldset{margin:0;padding:0;border:0;min-width:0;display:grid;gap:.5rem}
legend{padding:0;margin-bottom:.5rem}
.scroll{max-height:13rem;overflow:auto;padding:.875rem 1rem;border:1px solid var(--line);border-radius:var(--round);display:grid;gap:.375rem}
.foot{margin-top:auto;padding:1rem 1.25rem 2rem;display:flex;flex-wrap:wrap;justify-content:center;gap:.5rem 1.25rem;font-size:.875rem;color:var(--soft)}
.foot a{color:inherit}
.avatar{flex:none;border-radius:50%}
[type=file]{padding:.5rem .875rem!important;height:auto!important}
.qr{max-width:15rem;margin:1rem auto}
.qr~form{margin-top:1.25rem}
.qr svg{display:block;width:100%;height:auto;border-radius:var(--round)}
.off{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media (max-width:30rem){.card,.wide .card{padding:1.5rem 1.25rem 1.75rem}.top{padding-top:1.75rem}.facts{grid-template-columns:1fr;gap:0}.facts dd{margin-bottom:.625rem}.rows>li{flex-wrap:wrap}.rows .what{flex-basis:100%}}
@media (prefers-reduced-motion:reduce){*,*::before,*::after{transition:none!important;animation-duration:2s!important}}
@media (forced-colors:active){.card,button{border-color:currentColor}}
`
