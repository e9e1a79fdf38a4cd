/**
 * `/docs`: guides written in Markdown beside this file, the page of problems made from the table of errors, and the API
 * explorer. Everything is local and read once; a strict content security policy keeps it so.
 */
import { readFile } from 'node:fs/promises';
import { Marked, type Tokens } from 'marked';
import { type ErrorCode, errorTable } from '#src/errors.ts';
import type { Page, PageContent } from './page.ts';
import { problemAdvice } from './problem-advice.ts';

const guides = {
  index: 'Points engine',
  till: 'Guide for tills',
  checkout: 'Guide for checkouts',
  partner: 'Guide for partners',
  'partner-protocol': 'The protocol between partners',
  operator: 'Guide for operators',
} as const;

const closed = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const guidePolicy = `${closed}; style-src 'self'; img-src 'self'`;
/** The explorer writes styles into its elements and calls the API from the browser. */
const explorerPolicy = `${closed}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'`;

const htmlType = 'text/html; charset=utf-8';
const explorerFiles = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
} as const;

const explorerStart = `window.ui = SwaggerUIBundle({
  url: '/openapi.json', dom_id: '#explorer', deepLinking: true, docExpansion: 'none', validatorUrl: null,
});
`;

function page(path: string, type: string, body: string | Uint8Array, policy: string): Page {
  const headers = [
    'Cache-Control',
    'max-age=300',
    'Content-Security-Policy',
    policy,
    'X-Content-Type-Options',
    'nosniff',
    'Referrer-Policy',
    'no-referrer',
  ];
  const content: PageContent = { status: 200, type, body, headers };
  return { path, content: () => content };
}

function layout(title: string, main: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="/docs/style.css">
<link rel="icon" href="/docs/api/favicon-32x32.png">
</head>
<body>
<nav><a href="/docs">Overview</a> <a href="/docs/till">Till</a> <a href="/docs/checkout">Checkout</a>
<a href="/docs/partner">Partner</a> <a href="/docs/operator">Operator</a> <a href="/docs/problems">Problems</a>
<a href="/docs/api">API</a></nav>
<main>
${main}
</main>
</body>
</html>
`;
}

/** `## 7. Goods come back` gets the anchor `7-goods-come-back`; a heading that is one code word keeps it as it is. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9_ -]/g, '')
    .trim()
    .replaceAll(/\s+/g, '-');
}

const markdown = new Marked({
  gfm: true,
  async: false,
  renderer: {
    heading({ tokens, depth, text }: Tokens.Heading): string {
      return `<h${depth} id="${anchorOf(text)}">${this.parser.parseInline(tokens)}</h${depth}>\n`;
    },
    table(token: Tokens.Table): string {
      const cells = (row: Tokens.TableCell[], tag: string) =>
        `<tr>${row.map((cell) => `<${tag}>${this.parser.parseInline(cell.tokens)}</${tag}>`).join('')}</tr>`;
      const body = token.rows.map((row) => cells(row, 'td')).join('\n');
      return `<div class="table"><table>\n<thead>${cells(token.header, 'th')}</thead>\n<tbody>\n${body}\n</tbody></table></div>\n`;
    },
  },
});

function html(title: string, text: string): string {
  return layout(title, markdown.parse(text, { async: false }));
}

function problemText(code: ErrorCode): string {
  const { status, title, applied, retryAfterSeconds } = errorTable[code];
  const facts = [`Status ${status}.`];
  if (applied === 'unknown') facts.push('It may have been applied.');
  if (retryAfterSeconds !== undefined) facts.push(`\`Retry-After: ${retryAfterSeconds}\`.`);
  return `## ${code}\n\n**${title}.** ${facts.join(' ')}\n\n${problemAdvice[code]}\n`;
}

function problemsText(): string {
  const codes = Object.keys(errorTable) as ErrorCode[];
  return `# Problems

Every refusal is a problem document (RFC 9457, \`application/problem+json\`) with \`type\`, \`title\`, \`status\`, \`detail\`,
\`code\` and \`requestId\`. Decide by the status first, then by \`code\`; new codes may appear. \`applied\` is \`no\` when nothing
was changed, and \`unknown\` when only a repeat with the same reference can tell.

${codes.map(problemText).join('\n')}`;
}

async function guidePage(name: keyof typeof guides): Promise<Page> {
  const text = await readFile(new URL(`docs/${name}.md`, import.meta.url), 'utf8');
  return page(name === 'index' ? '/docs' : `/docs/${name}`, htmlType, html(guides[name], text), guidePolicy);
}

async function explorerPages(): Promise<Page[]> {
  const folder = new URL('./', import.meta.resolve('swagger-ui-dist/package.json'));
  const document = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Points engine: API</title>
<link rel="stylesheet" href="/docs/api/swagger-ui.css">
<link rel="icon" href="/docs/api/favicon-32x32.png">
</head>
<body>
<div id="explorer"></div>
<script src="/docs/api/swagger-ui-bundle.js"></script>
<script src="/docs/api/start.js"></script>
</body>
</html>
`;
  const files = Object.entries(explorerFiles).map(async ([name, type]) =>
    page(`/docs/api/${name}`, type, await readFile(new URL(name, folder)), explorerPolicy),
  );
  return [
    page('/docs/api', htmlType, document, explorerPolicy),
    page('/docs/api/start.js', 'text/javascript; charset=utf-8', explorerStart, explorerPolicy),
    ...(await Promise.all(files)),
  ];
}

/** All pages below `/docs`. */
export async function docsPages(): Promise<Page[]> {
  const style = await readFile(new URL('docs/style.css', import.meta.url), 'utf8');
  const names = Object.keys(guides) as (keyof typeof guides)[];
  return [
    ...(await Promise.all(names.map(guidePage))),
    page('/docs/problems', htmlType, html('Problems', problemsText()), guidePolicy),
    page('/docs/style.css', 'text/css; charset=utf-8', style, guidePolicy),
    ...(await explorerPages()),
  ];
}
