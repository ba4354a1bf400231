// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// What clients ask of a contract: reads, writes, events, and every way to fail.
contract Probe {
    uint256 public value;
    mapping(address => uint256) public paid;

    event Stored(address indexed by, uint256 indexed value, string note);
    event Paid(address indexed by, uint256 wei_);

    error Refused(address who, uint256 wanted);

    constructor(uint256 first) payable {
        value = first;
    }

    function store(uint256 next, string calldata note) external {
        value = next;
        emit Stored(msg.sender, next, note);
    }

    function storeTwice(uint256 next) external {
        emit Stored(msg.sender, value, "before");
        value = next;
        emit Stored(msg.sender, next, "after");
    }

    function pay() external payable {
        paid[msg.sender] += msg.value;
        emit Paid(msg.sender, msg.value);
    }

    function add(uint256 a, uint256 b) external pure returns (uint256) {
        return a + b;
    }

    function who() external view returns (address sender, uint256 number, uint256 time, uint256 baseFee) {
        return (msg.sender, block.number, block.timestamp, block.basefee);
    }

    function failWithReason() external pure {
        revert("not today");
    }

    function failWithError(uint256 wanted) external view {
        revert Refused(msg.sender, wanted);
    }

    function failWithNothing() external pure {
        revert();
    }

    function failInvalid() external pure {
        assembly {
            invalid()
        }
    }

    function burn() external pure {
        for (uint256 i = 0; ; i++) {}
    }
}

/// Several calls in one (the part of Multicall3 that clients use).
contract Multicall {
    struct Call {
        address target;
        bytes callData;
    }

    function aggregate(Call[] calldata calls) external payable returns (uint256 blockNumber, bytes[] memory returnData) {
        blockNumber = block.number;
        returnData = new bytes[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            (bool success, bytes memory returned) = calls[i].target.call(calls[i].callData);
            require(success, "a call failed");
            returnData[i] = returned;
        }
    }
}
