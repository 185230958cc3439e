"""What can be wrong with a folder of captioned clips, and what is left out of it, with the fix of each."""

from tao_skill_bank.data import media_suffixes
from tao_skill_bank.data.issues import IssueType

TABLES = ("metadata.csv", "metadata.tsv", "metadata.jsonl")

ISSUE_TYPES = {
    "clips_missing": IssueType(
        "no clips", "Put mp4 files into it, or into videos/ below it; other formats are not read.", counted=False
    ),
    "folders_unreadable": IssueType("folder{s} that cannot be listed", "Give yourself the right to read them."),
    "names_undecodable": IssueType("name{s} that are not UTF-8", "Rename the files."),
    "duplicate_names": IssueType(
        "clip{s} with the name of another clip",
        "Rename them: captions, caches and results are keyed by the clip's name.",
    ),
    "names_ambiguous": IssueType(
        "file{s} whose name another one has, but for case or Unicode form",
        "Rename or remove one of them: on other file systems they are the same file.",
    ),
    "not_utf8": IssueType(
        "file{s} in an encoding that is not read",
        "Save it as UTF-8; if it is Windows-1252: iconv -f WINDOWS-1252 -t UTF-8 IN > OUT",
    ),
    "captions_unreadable": IssueType(
        "caption file{s} that cannot be read", "Write UTF-8 text; a JSON caption is a string or {prompt: TEXT}."
    ),
    "csv_quotes": IssueType(
        "row{s} with a misplaced quote",
        'Put quotes around the whole prompt and double those inside: k0.mp4,"""Pick"" is what the arm does"',
    ),
    "csv_row_invalid": IssueType(
        "row{s} that cannot be used", "Give every row a file name and a prompt, and quote prompts that hold commas."
    ),
    "csv_name_differs": IssueType(
        "row{s} with another spelling of a clip's name", "Write the clip's exact name, or rename the clip."
    ),
    "csv_clip_elsewhere": IssueType(
        "row{s} of clips that lie in another folder",
        "Write the path from the table's folder, or from videos/ next to it.",
    ),
    "csv_file_missing": IssueType("row{s} of missing clips", "Correct the name, add the clip, or drop the rows."),
    "csv_duplicate_rows": IssueType("row{s} that repeat a clip", "Keep one row per clip."),
    "caption_name_differs": IssueType(
        "clip{s} with a caption in another spelling of their name",
        "Give the caption exactly the clip's name: rename one of the two files.",
    ),
    "caption_elsewhere": IssueType(
        "clip{s} with a caption of their name in another folder only, which may be of another clip",
        "Move the caption next to the clip, or to the same path below metas/.",
    ),
    "caption_missing": IssueType(
        "clip{s} without a caption",
        f"Write metas/NAME.txt, captions/NAME.json or a row of {TABLES[0]}, or drop them.",
    ),
    "caption_empty": IssueType("clip{s} with an empty caption", "Write what happens in the clip, or drop them."),
    "clips_in_other_folders": IssueType(
        "clip{s} in folders that are not read",
        "Move them into videos/ and their captions into metas/.",
        severity="warning",
    ),
    "clips_deeper_than_captions": IssueType(
        "clip{s} left out, because their caption does not lie in a folder of the same name",
        "Move the captions: videos/FOLDER/NAME.mp4 has metas/FOLDER/NAME.txt.",
        severity="warning",
    ),
    "clips_of_other_formats": IssueType(
        "clip{s} left out, because only mp4 is read",
        f"Convert them: {media_suffixes.CONVERT_CLIP}",
        severity="warning",
    ),
    "folders_linked": IssueType(
        "linked folder{s} whose files are read", "Nothing, if that is meant; else remove the link.", severity="warning"
    ),
    "links_skipped": IssueType(
        "linked folder{s} that are not read",
        "Link the files, or name the folder itself; a link into a folder that is read changes nothing.",
        severity="warning",
    ),
    "captions_without_clip": IssueType(
        "caption{s} without a clip that is read", "Add the clip, or correct or remove the caption.", severity="warning"
    ),
    "tables_not_read": IssueType(
        "table{s} that are not read", f"Call it {', '.join(TABLES[:-1])} or {TABLES[-1]}.", severity="warning"
    ),
    "csv_unquoted": IssueType(
        "row{s} whose prompt holds commas without quotes; the prompt is all that follows", "", severity="info"
    ),
    "table_assumed": IssueType("table{s} read with assumptions", "", severity="info"),
    "text_assumed": IssueType("text file{s} in another encoding than UTF-8", "", severity="info"),
    "captions_not_needed": IssueType(
        "caption file{s} that are not read, because another caption comes first", "", severity="info"
    ),
    "files_not_read": IssueType("other file{s}", "", severity="info"),
}
