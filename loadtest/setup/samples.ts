/** The programs that loads run under, and the receipt that they judge. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readProgramFile } from '#src/earning/file/read.ts';
import { type ProgramFile, programFileSchema } from '#src/earning/file/schema.ts';
import { demoFile } from '#src/earning/samples/demo.ts';
import { checkout } from '../run-folder.ts';

export const tenCategories = [
  'fresh/fruit',
  'fresh/bread',
  'dairy/milk',
  'wine',
  'organic/tea',
  'tobacco',
  'sweets',
  'fish',
  'deposit',
  'home',
];
/** A receipt of ten lines, 81.55 in all. */
export const tenLines = tenCategories.map((category, i) => ({
  line: i + 1,
  sku: `40063813339${10 + i}`,
  category,
  brand: i % 3 === 0 ? 'gut-und-nah' : 'other',
  quantity: '1',
  amount: 199 + 137 * i,
}));

/** The supermarket's program for the sample program, whose zone and currency stay. */
async function supermarket(): Promise<ProgramFile> {
  const source = await readFile(join(checkout, 'src/earning/samples', 'supermarket.yaml'), 'utf8');
  const { file, faults } = readProgramFile(source);
  if (!file) throw new Error(`the sample is wrong: ${JSON.stringify(faults[0])}`);
  return { ...file, timeZone: demoFile.timeZone, examples: [] };
}

export async function sampleFiles(): Promise<{ sample: ProgramFile; supermarket: ProgramFile }> {
  return { sample: programFileSchema.parse(demoFile), supermarket: await supermarket() };
}
