/** What `npm run import -- --help` prints. */
export const help = `Usage: npm run import -- FILE --currency USD [flags]

Sends the receipts of a CSV or NDJSON file of any size to a running points engine. Safe to run again: every receipt
goes under its reference, so what is already in is only counted as replayed, and a run that was stopped continues.

The file
  --format csv|ndjson     by default from the name: .ndjson and .jsonl are NDJSON, all others CSV
  --delimiter D           one or more characters, tab, or whitespace (runs of blanks and tabs, leading ones
                          ignored, no quotes); default comma, tab for .tsv
  --quote C|none          quote character, default "
  --encoding LABEL        default utf-8; e.g. windows-1252, utf-16le
  --columns a,b,c         column names of a file without a header line
  An NDJSON line is one accrual as POST /v1/accruals takes it, or a flat object whose members are columns.

The columns (a name from the header, or =VALUE for the same value in every row)
  --member COL            default "member"; the program's own id of the member
  --identifier TYPE       the member column holds an identifier of this type (card, phone, …) instead
  --enrol                 enrol members that are not known yet
  --date COL              default "date"
  --date-format F         iso (default), unix, unix-ms, or luxon tokens: yyyyMMdd, dd.MM.yyyy HH:mm. A date without a
                          time is 12:00: noon exists on every day of every zone. (So today's rows are accepted
                          after noon; refused as in the future before it, they go in when the file is run again.)
  --zone ZONE             IANA zone of dates without an offset; default the program's
  --amount COL            default "amount"; the whole line, tax included. More decimals than the currency has
                          round half-up, line by line. A negative amount is rejected: a return is not an accrual
  --amount-unit U         major (default: 12.50) or minor (1250)
  --decimal-comma         12,50 instead of 12.50
  --currency USD, --currency-column COL
  --sku --category --brand --quantity --store --terminal --line COL

Receipts
  --order COL             rows with the same value form one receipt; repeat the flag to join several columns
  --group adjacent|all    adjacent (default): only rows that follow one another; all: wherever they are, up to
  --group-window N        N rows after the receipt's first one (default 20,000: this bounds the memory)
  --reference COL         the receipt's reference; default FILE:N with the file's name without its folder and N
                          the number of its first data row, counted from 1
  --name NAME             stands for FILE in those references (for files that are called the same every day)
  A receipt is sent whole or not at all: one bad row rejects the rows of its receipt.

The run
  --url URL               default http://127.0.0.1:3000 (or $PORT)
  --key KEY               default demo-pos, which works on a bare machine
  --concurrency N         bulk calls in flight, default 4
  --patience SECONDS      how long one call is repeated while the API is away or busy, default 60
  --rejects FILE          default FILE.rejects.csv: row number, reference, code, reason and the row as it was; only
                          written when there are rejects. Corrected, it can be imported with --reference reference
  --limit N               stop after N receipts
  --dry-run               read, map and group only; shows the first receipt

Exit code: 0 everything accepted or replayed, 1 some rejected or the run stopped early, 2 a wrong command.

Example (CDNOW):
  npm run import -- CDNOW_master.txt --delimiter whitespace --member customer_id --date date \\
    --date-format yyyyMMdd --amount dollar_value --quantity number_of_cds --currency USD --enrol
`;
