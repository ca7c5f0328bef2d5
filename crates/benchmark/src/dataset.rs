//! Records for the placeholders `__field:name__`: a file of comma- or tab-separated values, the first line names the fields.

use std::path::Path;

#[derive(Debug)]
pub struct Dataset {
    names: Vec<Vec<u8>>,
    records: Vec<csv::ByteRecord>,
}

impl Dataset {
    /// Reads a file; tabs separate if its name ends in `.tsv` or its first line has a tab and no comma.
    pub fn read(path: &Path, records_max: Option<usize>) -> Result<Dataset, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let first_line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let tabs = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"))
            || (first_line.contains(&b'\t') && !first_line.contains(&b','));
        Dataset::parse(&bytes, if tabs { b'\t' } else { b',' }, records_max)
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    pub fn parse(bytes: &[u8], separator: u8, records_max: Option<usize>) -> Result<Dataset, String> {
        let mut reader = csv::ReaderBuilder::new().delimiter(separator).from_reader(bytes);
        let names = reader.byte_headers().map_err(|error| error.to_string())?.iter().map(<[u8]>::to_vec).collect();
        let records = reader
            .into_byte_records()
            .take(records_max.unwrap_or(usize::MAX))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        if records.is_empty() {
            return Err("no records".to_owned());
        }
        Ok(Dataset { names, records })
    }

    pub fn records(&self) -> usize {
        self.records.len()
    }

    pub fn field_index(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    pub fn field_names(&self) -> Vec<String> {
        self.names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// A field of a record; every record has all fields, the reader sees to that.
    pub fn field(&self, record: usize, field: usize) -> &[u8] {
        &self.records[record][field]
    }
}
