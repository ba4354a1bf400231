// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// A constant-product pool that keeps its traders' deposits itself. Both reserves share slot 0, which every swap writes.
contract Pool {
    uint128 public reserveSold;
    uint128 public reserveBought;
    mapping(address => uint256) public depositSold;
    mapping(address => uint256) public depositBought;

    event Swap(address indexed trader, uint256 sold, uint256 bought);

    /// Sells `sold` for what the product of the reserves leaves, less 0.3 %.
    function swap(uint256 sold, uint256 leastBought) external returns (uint256 bought) {
        (uint256 mine, uint256 theirs) = (reserveSold, reserveBought);
        uint256 paid = sold * 997;
        bought = (paid * theirs) / (mine * 1000 + paid);
        require(bought >= leastBought, "too little");
        (reserveSold, reserveBought) = (uint128(mine + sold), uint128(theirs - bought));
        depositSold[msg.sender] -= sold;
        depositBought[msg.sender] += bought;
        emit Swap(msg.sender, sold, bought);
    }
}
