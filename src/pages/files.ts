/** What is deployed beside the Worker of the pages: the rules of their style sheet, their script, and their Spanish. */
export const PAGE_FILES = { rules: 'pages/rules.css', script: 'pages/script.js', spanish: 'pages/es.json' } as const
