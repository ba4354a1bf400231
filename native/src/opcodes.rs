//! The opcodes that read state, run by revm's own code against a host that records what they use.
use revm::bytecode::opcode as op;
use revm::context::{ContextError, JournalTr};
use revm::context_interface::cfg::GasParams;
use revm::context_interface::context::{SStoreResult, SelfDestructResult, StateLoad};
use revm::context_interface::host::LoadError;
use revm::context_interface::journaled_state::AccountInfoLoad;
use revm::interpreter::instructions::{contract, host as hostops};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{Host, Instruction, InstructionContext, InstructionExecResult};
use revm::primitives::{Address, B256, Log, StorageKey, StorageValue, U256};

use crate::cells::{self, Location};
use crate::faults::Fault;
use crate::machine::{Context, Instructions};
use crate::record::Zeros;
use crate::world::B;

/// The context as one opcode sees it, plus the knowledge of which opcode asks.
struct Spy<'a> {
    context: &'a mut Context,
    opcode: u8,
    /// A CALL that moves ether.
    moves_value: bool,
    /// Accounts loaded by this opcode so far: the first of a CALL is its target, the second its delegate (EIP-7702).
    loads: u8,
}

/// Hands a fault to revm: the context keeps it, the opcode ends, and the handler finds it there.
fn stop(context: &mut Context, result: Result<(), Fault>) -> Result<(), LoadError> {
    result.map_err(|fault| {
        context.error = Err(ContextError::Db(fault));
        LoadError::DBError
    })
}

impl Spy<'_> {
    /// A slot of an account that this transaction made is read as 0 without asking the world: it must be declared too.
    fn check_created_slot(&mut self, addr: Address, slot: StorageKey) -> Result<(), LoadError> {
        let journal = &self.context.journaled_state;
        let created = journal.inner.state.get(&addr).is_some_and(|account| account.is_created());
        if created && !journal.database.declares_slot(addr, slot) {
            let location = Location { mark: cells::STORAGE, addr, slot };
            return stop(self.context, Err(Fault::Undeclared(location)));
        }
        Ok(())
    }

    /// A SELFDESTRUCT moved ether to `target`: E(target) as it was before, and its balance. `received` is what the
    /// target now has more.
    fn note_beneficiary(&mut self, target: Address, received: Option<U256>) -> Result<(), Fault> {
        let Some(account) = self.context.journaled_state.inner.state.get(&target) else {
            return Err(Fault::Internal(format!("the beneficiary {target:#x} is not loaded")));
        };
        let mut zeros = Zeros::of(&account.info);
        zeros.balance = received.is_some_and(|amount| account.info.balance == amount);
        if received.is_some_and(|amount| account.info.balance < amount) {
            return Err(Fault::Unsupported(format!("the balance of {target:#x} overflows 256 bits")));
        }
        self.context.chain.emptiness(target, &zeros)?;
        self.context.chain.note(target, B)
    }
}

impl Host for Spy<'_> {
    fn load_account_info_skip_cold_load(
        &mut self,
        addr: Address,
        load_code: bool,
        skip_cold_load: bool,
    ) -> Result<AccountInfoLoad<'_>, LoadError> {
        let Context { journaled_state, chain, error, .. } = &mut *self.context;
        let load = match journaled_state.load_account_info_skip_cold_load(addr, load_code, skip_cold_load) {
            Ok(load) => load,
            Err(failed) => {
                let (reason, fault) = failed.into_parts();
                if let Some(fault) = fault {
                    *error = Err(ContextError::Db(fault));
                }
                return Err(reason);
            }
        };
        self.loads += 1;
        let zeros = Zeros::of(&load.account);
        // Only a load that happened counts, so that an opcode that cannot pay for it uses nothing.
        let noted = match self.opcode {
            op::BALANCE | op::SELFBALANCE => chain.note(addr, B),
            op::EXTCODEHASH => chain.emptiness(addr, &zeros),
            op::CALL if self.loads == 1 && self.moves_value => {
                chain.note_code(addr, &load.account).and_then(|()| chain.emptiness(addr, &zeros))
            }
            _ => chain.note_code(addr, &load.account),
        };
        match noted {
            Ok(()) => Ok(load),
            Err(fault) => {
                *error = Err(ContextError::Db(fault));
                Err(LoadError::DBError)
            }
        }
    }

    fn selfdestruct(
        &mut self,
        addr: Address,
        target: Address,
        skip_cold_load: bool,
    ) -> Result<StateLoad<SelfDestructResult>, LoadError> {
        let balance_of = |context: &Context, addr| {
            context.journaled_state.inner.state.get(&addr).map(|account| account.info.balance).unwrap_or_default()
        };
        let amount = balance_of(self.context, addr);
        let result = Host::selfdestruct(self.context, addr, target, skip_cold_load)?;
        let noted = self.context.chain.note(addr, B);
        stop(self.context, noted)?;
        if !amount.is_zero() {
            let noted = self.note_beneficiary(target, (target != addr).then_some(amount));
            stop(self.context, noted)?;
        }
        Ok(result)
    }

    fn sload_skip_cold_load(
        &mut self,
        addr: Address,
        key: StorageKey,
        skip_cold_load: bool,
    ) -> Result<StateLoad<StorageValue>, LoadError> {
        let load = Host::sload_skip_cold_load(self.context, addr, key, skip_cold_load)?;
        if self.context.chain.checks_created_slots() {
            self.check_created_slot(addr, key)?;
        }
        Ok(load)
    }

    fn sstore_skip_cold_load(
        &mut self,
        addr: Address,
        key: StorageKey,
        value: StorageValue,
        skip_cold_load: bool,
    ) -> Result<StateLoad<SStoreResult>, LoadError> {
        let load = Host::sstore_skip_cold_load(self.context, addr, key, value, skip_cold_load)?;
        if self.context.chain.checks_created_slots() {
            self.check_created_slot(addr, key)?;
        }
        Ok(load)
    }

    fn block_hash(&mut self, number: u64) -> Option<B256> {
        let hash = Host::block_hash(self.context, number)?;
        self.context.chain.note_hash(number, hash);
        Some(hash)
    }

    // What follows is revm's own context, unchanged.
    fn basefee(&self) -> U256 {
        self.context.basefee()
    }
    fn blob_gasprice(&self) -> U256 {
        self.context.blob_gasprice()
    }
    fn gas_limit(&self) -> U256 {
        Host::gas_limit(&*self.context)
    }
    fn difficulty(&self) -> U256 {
        self.context.difficulty()
    }
    fn prevrandao(&self) -> Option<U256> {
        self.context.prevrandao()
    }
    fn block_number(&self) -> U256 {
        self.context.block_number()
    }
    fn timestamp(&self) -> U256 {
        self.context.timestamp()
    }
    fn beneficiary(&self) -> Address {
        self.context.beneficiary()
    }
    fn slot_num(&self) -> U256 {
        self.context.slot_num()
    }
    fn chain_id(&self) -> U256 {
        self.context.chain_id()
    }
    fn effective_gas_price(&self) -> U256 {
        self.context.effective_gas_price()
    }
    fn caller(&self) -> Address {
        Host::caller(&*self.context)
    }
    fn blob_hash(&self, number: usize) -> Option<U256> {
        self.context.blob_hash(number)
    }
    fn max_initcode_size(&self) -> usize {
        self.context.max_initcode_size()
    }
    fn gas_params(&self) -> &GasParams {
        self.context.gas_params()
    }
    fn is_amsterdam_eip8037_enabled(&self) -> bool {
        self.context.is_amsterdam_eip8037_enabled()
    }
    fn log(&mut self, log: Log) {
        Host::log(self.context, log);
    }
    fn tstore(&mut self, addr: Address, key: StorageKey, value: StorageValue) {
        Host::tstore(self.context, addr, key, value);
    }
    fn tload(&mut self, addr: Address, key: StorageKey) -> StorageValue {
        Host::tload(self.context, addr, key)
    }
}

/// One opcode: revm's function, unchanged, on the recording host.
fn spied<const OPCODE: u8>(context: InstructionContext<'_, Context, EthInterpreter>) -> InstructionExecResult {
    let stack = context.interpreter.stack.data();
    let moves_value = OPCODE == op::CALL && stack.len() > 2 && !stack[stack.len() - 3].is_zero();
    let mut spy = Spy { context: context.host, opcode: OPCODE, moves_value, loads: 0 };
    let context = InstructionContext { interpreter: context.interpreter, host: &mut spy };
    match OPCODE {
        op::BALANCE => hostops::balance(context),
        op::SELFBALANCE => hostops::selfbalance(context),
        op::EXTCODESIZE => hostops::extcodesize(context),
        op::EXTCODECOPY => hostops::extcodecopy(context),
        op::EXTCODEHASH => hostops::extcodehash(context),
        op::BLOCKHASH => hostops::blockhash(context),
        op::SLOAD => hostops::sload(context),
        op::SSTORE => hostops::sstore(context),
        op::SELFDESTRUCT => hostops::selfdestruct(context),
        op::CALL | op::CALLCODE | op::DELEGATECALL | op::STATICCALL => contract::call::<OPCODE, _, _>(context),
        _ => unreachable!("only the opcodes above are spied on"),
    }
}

/// Puts the recording opcodes into a fork's table; what they cost before they run stays the fork's.
pub fn install(instructions: &mut Instructions) {
    macro_rules! spy_on {
        ($($opcode:ident)*) => {$(
            instructions.instruction_table_mut()[usize::from(op::$opcode)] = Instruction::new(spied::<{ op::$opcode }>);
        )*};
    }
    spy_on!(BALANCE SELFBALANCE EXTCODESIZE EXTCODECOPY EXTCODEHASH BLOCKHASH SLOAD SSTORE);
    spy_on!(SELFDESTRUCT CALL CALLCODE DELEGATECALL STATICCALL);
}
